"""The way back: a migration undone, finished or not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from migrator.commands.status import status_of
from migrator.errors import DataRootError
from migrator.legacy.daemon import refuse_daemon
from migrator.legacy.root import open_root
from migrator.state import lock, publication
from migrator.state.directory import Phase, StateDirectory
from migrator.text import shown


def rollback(
    data_root: Path,
    driver: str = "auto",
    *,
    storage_opts: Iterable[str] = (),
    force: bool = False,
) -> str:
    """Undo a migration, finished or not, the last one first; returns what was done.

    Raises StoreError when something was changed since, unless `force`.
    """
    _settle_driver(data_root, driver, storage_opts)
    states = StateDirectory.all(data_root.absolute())
    if not states:
        # Says what is wrong with the directory if it is no data root at all.
        open_root(data_root)
        raise DataRootError(
            "migrator has done nothing here that could be rolled back", subject=str(data_root)
        )
    last, *before = states
    refuse_daemon(last.data_root)
    with lock.exclusive(last.data_root):
        phase = last.phase
        withheld = publication.take_back(last, force=force)
        last.remove()
        # Of earlier runs that came to nothing, and rollbacks that were killed at their end.
        for state in before:
            if state.is_empty:
                state.remove()
    before = [state for state in before if state.phase is not Phase.NONE]
    what = f"the migration to {last.target}" if last.target else "the migration"
    if phase is Phase.PREPARING:
        done = f"Nothing had been published in {data_root}; what was prepared is removed"
    elif force:
        done = f"All that {what} added to {data_root} or replaced there is undone"
    else:
        done = f"{data_root} is what it was before {what}"
    if withheld:
        names = ", ".join(map(shown, withheld))
        done += f"; names of images that are gone are left out: {names}"
    if before:
        done += f". It still is: {status_of(before[0]).state}; `migrator rollback` undoes that next"
    return done


def _settle_driver(data_root: Path, driver: str, storage_opts: Iterable[str]) -> None:
    try:
        source = open_root(data_root, driver, storage_opts).driver
    except DataRootError:
        # Of no driver, or of several: there is none that could have left something.
        return
    source.settle()
