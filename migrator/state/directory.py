"""The state directory `.migrator/` in a data root.

    phase           `preparing`, `publishing`, `published` or `undoing`
    journal.db      layers that are hashed already
    records/        tar-split records made anew for layers that had none
    built.jsonl     which layers' trees are built already
    trees/          those trees, laid out as in the data root
    stage/          all else that will be added, likewise
    saved/          files that were replaced, as they were
    manifest.json   everything that was added or replaced, with BLAKE3 digests

It stays after a migration, for `verify` and `rollback`. What was made of a
store for another storage driver has a state directory of its own,
`.migrator-<driver>/`, so that it can be undone by itself.
"""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path

from migrator import disk
from migrator.errors import FormatError, StoreError
from migrator.files import refusal

NAME = ".migrator"

_names = re.compile(re.escape(NAME) + r"(?:-([a-z0-9]+))?")


class Phase(enum.StrEnum):
    """How far the migration of a data root has come."""

    NONE = "none"
    PREPARING = "preparing"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    UNDOING = "undoing"


class StateDirectory:
    """Paths in `.migrator/`, and the phase recorded there."""

    def __init__(self, data_root: Path, target: str = "") -> None:
        """`target` is the storage driver that the store is made for, if not its own."""
        self.data_root = data_root
        self.target = target
        self.path = data_root / (f"{NAME}-{target}" if target else NAME)
        self.stage = self.path / "stage"
        self.saved = self.path / "saved"
        self.records = self.path / "records"
        self.journal = self.path / "journal.db"
        self.trees = self.path / "trees"
        self.built = self.path / "built.jsonl"
        self.manifest = self.path / "manifest.json"
        self._phase = self.path / "phase"

    @classmethod
    def all(cls, data_root: Path) -> list[StateDirectory]:
        """Those that a data root has, the one that was made last, and is undone first, in front.

        A store for another driver is made of the legacy one, or of what that became.
        Raises PermissionDenied or FormatError when the data root cannot be read.
        """
        try:
            names = sorted(os.listdir(data_root), reverse=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise refusal(error, data_root) from None
        found = [match for name in names if (match := _names.fullmatch(name))]
        states = [cls(data_root, match[1] or "") for match in found]
        return [state for state in states if state.phase is not Phase.NONE]

    @property
    def phase(self) -> Phase:
        """What is recorded; `Phase.NONE` without a state directory.

        Raises FormatError when the file says something else, PermissionDenied
        when only root may read it.
        """
        try:
            if self.path.is_symlink():
                raise StoreError("is not a directory", subject=str(self.path))
            text = self._phase.read_text("ascii", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return Phase.PREPARING if self.path.is_dir() else Phase.NONE
        except OSError as error:
            raise refusal(error, self._phase) from None
        try:
            return Phase(text)
        except ValueError:
            raise FormatError(f"unknown phase {text[:20]!r}", subject=str(self._phase)) from None

    @phase.setter
    def phase(self, phase: Phase) -> None:
        disk.write_atomically(self._phase, phase.encode("ascii"))

    def create(self) -> None:
        """Make the directory if it is missing; raises StoreError when something else is there."""
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_dir()):
            raise StoreError("is not a directory", subject=str(self.path))
        if not self.path.is_dir():
            disk.make_directory(self.path)
            disk.flush(self.data_root)

    def clear_stage(self) -> None:
        """Drop what a run prepared, or what another has taken out of the data root again."""
        disk.remove_tree(self.stage)
        disk.remove_tree(self.saved)
        disk.remove_file(self.manifest)

    def inherit(self, other: StateDirectory) -> None:
        """Begin with the layers that are hashed in `other`, which nothing was published from.

        Whether they still are what they were, the journal tells.
        """
        if self.journal.exists() or other.phase is not Phase.PREPARING:
            return
        if other.records.is_dir() and not self.records.exists():
            disk.make_directory(self.records)
            for record in sorted(other.records.iterdir()):
                disk.link_or_copy(record, self.records / record.name)
        if other.journal.is_file():
            # A rollback journal beside it would be the other's, and is not looked at.
            disk.write_atomically(self.journal, other.journal.read_bytes())

    def remove(self) -> None:
        """Remove the directory and all in it; it may be gone already."""
        disk.remove_layers(self.trees)
        disk.remove_tree(self.path)
        disk.flush(self.data_root)


def is_state(name: str) -> bool:
    """Whether a name in a data root is a state directory's."""
    return _names.fullmatch(name) is not None
