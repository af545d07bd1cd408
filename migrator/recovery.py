"""What state a data root is in, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrator.conversion.planning import TARGETS
from migrator.errors import DataRootError
from migrator.legacy.root import open_root
from migrator.migration import refuse_daemon
from migrator.planning import Plan, make_plan
from migrator.state import lock, publication
from migrator.state.directory import Phase, StateDirectory
from migrator.text import count, printable, shown
from migrator.verification.use import sign_of_use_in


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
        "a migration was interrupted before it changed anything, or only hashed layers",
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


_USED = (
    "`migrator verify` checks it; `migrator rollback --force` takes it back, and what"
    " Docker has made since is lost"
)

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
    found = StateDirectory.all(data_root.absolute())
    states = [*found[:1], *(each for each in found[1:] if not each.is_empty)]
    if (states and not states[0].has_published) or any(each.is_unsettled for each in states):
        return _joined(states)
    root = open_root(data_root, driver, storage_opts)
    plan = make_plan(root) if root.has_store else None
    if states:
        told = _joined(states)
        if plan is None or plan.nothing_new or states[0].target:
            return told
        return Status(f"{told.state}; {_news(plan)}", "`migrator migrate` adds it")
    if plan is None:
        state = "content-addressed, without a legacy store"
        if root.driver_name in TARGETS:
            return Status(state, "nothing to migrate")
        targets = " or ".join(TARGETS)
        return Status(state, f"`migrator migrate --target-driver {targets}` for today's Docker")
    if plan.nothing_new:
        return Status("migrated by Docker", "nothing to migrate; `migrator verify` checks it")
    if plan.marked:
        return Status(f"migrated by Docker; {_news(plan)}", "`migrator migrate` adds it")
    if plan.migrated or (root.path / "image" / root.driver_name).exists():
        return Status(
            "legacy, with a content-addressed store that Docker began",
            "`migrator migrate` adds what is missing",
        )
    return Status("legacy", "`migrator plan`, then `migrator migrate`")


def _joined(states: Sequence[StateDirectory]) -> Status:
    """What the last of several migrations says, and what came before it."""
    last, *before = (_status_of(state) for state in states)
    if states[0].phase is Phase.PUBLISHED and (sign := sign_of_use_in(states[0].data_root)):
        state = f"{last.state}; Docker has used it since: {printable(sign)}"
        last = Status(state, _USED)
    told = "; before that: ".join((last.state, *(s.state for s in before)))
    if states[0].phase is Phase.PREPARING and not (before or states[0].target):
        told = f"legacy; {told}"
    return Status(told, last.next_step)


def _news(plan: Plan) -> str:
    """What there is beside what was migrated, in words."""
    counts = ((len(plan.tasks), "image"), (len(plan.containers), "container"))
    new = " and ".join(count(number, what) for number, what in counts if number)
    return f"{new or 'some names'} not migrated yet"


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
