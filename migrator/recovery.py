"""What state a data root is in, and the way back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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


def status(data_root: Path, driver: str = "auto") -> Status:
    """Look at a data root, changing nothing. Raises a MigratorError when it is none."""
    phase = StateDirectory(data_root.absolute()).phase
    if phase in _STATES:
        return _STATES[phase]
    root = open_root(data_root, driver)
    if not root.has_store:
        return Status("content-addressed, without a legacy store", "nothing to migrate")
    plan = make_plan(root)
    if plan.done_before:
        return Status("migrated by Docker", "nothing to migrate; `migrator verify` checks it")
    if plan.migrated or (root.path / "image" / root.driver_name).exists():
        return Status(
            "legacy, with a content-addressed store that Docker began",
            "`migrator migrate` adds what is missing",
        )
    return Status("legacy", "`migrator plan`, then `migrator migrate`")


def rollback(data_root: Path, *, force: bool = False) -> str:
    """Undo a migration, finished or not; returns what was done, in a sentence.

    Raises StoreError when something was changed since, unless `force`.
    """
    state = StateDirectory(data_root.absolute())
    if state.phase is Phase.NONE:
        # Says what is wrong with the directory if it is no data root at all.
        open_root(data_root)
        raise DataRootError(
            "migrator has done nothing here that could be rolled back", subject=str(data_root)
        )
    refuse_daemon(state.data_root)
    with lock.exclusive(state.data_root):
        phase = state.phase
        publication.take_back(state, force=force)
        state.remove()
    if phase is Phase.PREPARING:
        return f"Nothing had been published in {data_root}; what was prepared is removed"
    if force:
        return f"All that the migration added to {data_root} or replaced there is undone"
    return f"{data_root} is what it was before the migration"
