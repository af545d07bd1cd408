"""What state a data root is in, and the way back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrator.conversion.planning import TARGETS
from migrator.errors import DataRootError
from migrator.legacy.root import open_root
from migrator.migration import refuse_daemon
from migrator.planning import make_plan
from migrator.state import lock, publication
from migrator.state.directory import Phase, StateDirectory


@dataclass(frozen=True, slots=True)
class Status:
    """`state` in a few words, and the command that would come next."""

    state: str
    next_step: str

    def as_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return asdict(self)


_STATES = {
    Phase.PREPARING: Status(
        "legacy; a migration was interrupted before it changed anything, or only hashed layers",
        "`migrator migrate` goes on with what is hashed; `migrator rollback` forgets it",
    ),
    Phase.PUBLISHING: Status(
        "interrupted while the migration was published",
        "`migrator migrate` finishes it; `migrator rollback` takes it back",
    ),
    Phase.PUBLISHED: Status(
        "migrated",
        "start Docker >= 1.10; `migrator verify` checks it, `migrator rollback` takes it back",
    ),
    Phase.UNDOING: Status(
        "interrupted while a migration was rolled back", "`migrator rollback` finishes it"
    ),
}


_CONVERSION_STATES = {
    Phase.PREPARING: Status(
        "a migration to {target} was interrupted before it changed anything",
        "`migrator migrate --target-driver {target}` goes on with what is done;"
        " `migrator rollback` forgets it",
    ),
    Phase.PUBLISHING: Status(
        "interrupted while the migration to {target} was published",
        "`migrator migrate --target-driver {target}` finishes it;"
        " `migrator rollback` takes it back",
    ),
    Phase.PUBLISHED: Status(
        "migrated to {target}",
        "start Docker with the storage driver {target}; `migrator verify -s {target}` checks"
        " it, `migrator rollback` takes it back",
    ),
    Phase.UNDOING: Status(
        "interrupted while the migration to {target} was rolled back",
        "`migrator rollback` finishes it",
    ),
}


def status(data_root: Path, driver: str = "auto", *, storage_opts: Iterable[str] = ()) -> Status:
    """Look at a data root, changing nothing. Raises a MigratorError when it is none."""
    states = StateDirectory.all(data_root.absolute())
    if states:
        last, *before = (_status_of(state) for state in states)
        return Status(
            "; before that: ".join((last.state, *(s.state for s in before))), last.next_step
        )
    root = open_root(data_root, driver, storage_opts)
    if not root.has_store:
        state = "content-addressed, without a legacy store"
        if root.driver_name in TARGETS:
            return Status(state, "nothing to migrate")
        targets = " or ".join(TARGETS)
        return Status(state, f"`migrator migrate --target-driver {targets}` for today's Docker")
    plan = make_plan(root)
    if plan.done_before:
        return Status("migrated by Docker", "nothing to migrate; `migrator verify` checks it")
    if plan.migrated or (root.path / "image" / root.driver_name).exists():
        return Status(
            "legacy, with a content-addressed store that Docker began",
            "`migrator migrate` adds what is missing",
        )
    return Status("legacy", "`migrator plan`, then `migrator migrate`")


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
    state, *before = states
    refuse_daemon(state.data_root)
    with lock.exclusive(state.data_root):
        phase = state.phase
        publication.take_back(state, force=force)
        state.remove()
    what = f"the migration to {state.target}" if state.target else "the migration"
    if phase is Phase.PREPARING:
        done = f"Nothing had been published in {data_root}; what was prepared is removed"
    elif force:
        done = f"All that {what} added to {data_root} or replaced there is undone"
    else:
        done = f"{data_root} is what it was before {what}"
    if before:
        done += (
            f". It still is: {_status_of(before[0]).state}; `migrator rollback` undoes that next"
        )
    return done


def _settle_driver(data_root: Path, driver: str, storage_opts: Iterable[str]) -> None:
    try:
        source = open_root(data_root, driver, storage_opts).driver
    except DataRootError:
        # Of no driver, or of several: there is none that could have left something.
        return
    source.settle()


def _status_of(state: StateDirectory) -> Status:
    if not state.target:
        return _STATES[state.phase]
    status = _CONVERSION_STATES[state.phase]
    return Status(*(text.format(target=state.target) for text in (status.state, status.next_step)))
