"""The state directory `.migrator/` in a data root.

    phase           `preparing`, `publishing`, `published` or `undoing`
    journal.db      layers that are hashed already
    records/        tar-split records made anew for layers that had none
    built.jsonl     which layers' trees are built already
    trees/          those trees, laid out as in the data root
    stage/          all else that will be added, likewise
    saved/          files that were replaced, as they were
    left_out.json   names that did not come over although their images did
    manifest.json   everything that was added or replaced, with BLAKE3 digests

It stays after a migration, for `verify` and `rollback`. Every migration has one of
its own, so that it can be undone by itself: what was made for another storage
driver is in `.migrator-<driver>/`, and what came after it in `.migrator-2/`,
`.migrator-2-<driver>/`, `.migrator-3/` and so on.
"""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path

from migrator.errors import FormatError, StoreError
from migrator.state.soundness import MAX_JOURNAL, MAX_PHASE, check_state
from migrator.system import disk
from migrator.system.files import is_regular, list_directory, read_file, refusal
from migrator.tree.removal import remove_layers, remove_tree

NAME = ".migrator"

_names = re.compile(re.escape(NAME) + r"(?:-([2-9]|[1-9][0-9]{1,8}))?(?:-([a-z][a-z0-9]*))?")


class Phase(enum.StrEnum):
    """How far the migration of a data root has come."""

    NONE = "none"
    PREPARING = "preparing"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    UNDOING = "undoing"


class StateDirectory:
    """Paths in one migration's `.migrator/`, and the phase recorded there."""

    def __init__(
        self,
        data_root: Path,
        target: str = "",
        number: int = 1,
        earlier: StateDirectory | None = None,
    ) -> None:
        """`target` is the storage driver that the store is made for, if not its own.

        `number` counts: of two migrations the later has the greater one, or the same
        one and a target that the earlier has not. `create` goes on with what was
        prepared in `earlier`.
        """
        self.data_root = data_root
        self.target = target
        self.number = number
        name = NAME + (f"-{number}" if number > 1 else "") + (f"-{target}" if target else "")
        self.path = data_root / name
        self.stage = self.path / "stage"
        self.saved = self.path / "saved"
        self.records = self.path / "records"
        self.journal = self.path / "journal.db"
        self.trees = self.path / "trees"
        self.built = self.path / "built.jsonl"
        self.manifest = self.path / "manifest.json"
        self.left_out = self.path / "left_out.json"
        self._phase = self.path / "phase"
        self._earlier = earlier

    @classmethod
    def named(cls, data_root: Path, name: str) -> StateDirectory | None:
        """The one with this name in a data root; None if the name is no state directory's."""
        match = _names.fullmatch(name)
        return None if match is None else cls(data_root, match[2] or "", int(match[1] or 1))

    @classmethod
    def all(cls, data_root: Path) -> list[StateDirectory]:
        """Those that a data root has, the one that was begun last, and is undone first, in front.

        Raises PermissionDenied or FormatError when the data root cannot be read.
        """
        try:
            names = os.listdir(data_root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise refusal(error, data_root) from None
        found = [state for name in names if (state := cls.named(data_root, name)) is not None]
        found.sort(key=lambda state: state.rank, reverse=True)
        return [state for state in found if state.phase is not Phase.NONE]

    @classmethod
    def next(cls, data_root: Path, target: str = "") -> StateDirectory:
        """The one for a run that begins now, which is later than all that there are.

        If a run for this target published nothing, it is that one's, which `create`
        gives its new name if others came after it.
        """
        states = cls.all(data_root)
        mine = next((s for s in states if s.target == target and not s.has_published), None)
        others = [state for state in states if mine is None or state.path != mine.path]
        latest = max((state.rank for state in others), default=(1, False))
        if mine is not None and (not others or mine.rank > latest):
            return mine
        number, converts = latest
        if others and (converts or not target):
            number += 1
        found = cls(data_root, target, number, mine)
        if not is_state(found.path.name):
            raise StoreError(
                "no number follows that of the last migration",
                subject=str(max(others, key=lambda state: state.rank).path),
                hint="migrator did not make it: look at it, and remove it if you do not need it",
            )
        return found

    @property
    def rank(self) -> tuple[int, bool]:
        """Sorts the migrations of a data root by the time at which they were begun."""
        return self.number, bool(self.target)

    @property
    def has_published(self) -> bool:
        """Whether anything of it is in the data root, or may be."""
        return self.phase not in (Phase.NONE, Phase.PREPARING)

    @property
    def is_unsettled(self) -> bool:
        """Whether a run was interrupted while it changed the data root."""
        return self.phase in (Phase.PUBLISHING, Phase.UNDOING)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was prepared in it that a run could go on with, nor published."""
        prepared = (self.journal, self.records, self.built, self.trees, self.stage, self.manifest)
        return not self.has_published and not any(map(os.path.lexists, prepared))

    @property
    def phase(self) -> Phase:
        """What is recorded; `Phase.NONE` without a state directory.

        Raises FormatError when the file says something else or the directory is not
        one that we made, PermissionDenied when only root may read it.
        """
        if not check_state(self.path):
            return Phase.NONE
        content = read_file(self._phase, MAX_PHASE)
        if content is None:
            return Phase.PREPARING
        text = content.decode("ascii", "replace")
        try:
            return Phase(text)
        except ValueError:
            raise FormatError(
                f"unknown phase {text[:20]!r}",
                subject=str(self._phase),
                hint="another version of migrator wrote it, or none: look at it",
            ) from None

    @phase.setter
    def phase(self, phase: Phase) -> None:
        disk.write_atomically(self._phase, phase.encode("ascii"))

    def create(self) -> None:
        """Make the directory if it is missing; raises FormatError when something else is there."""
        if self._earlier is not None:
            disk.replace(self._earlier.path, self.path)
            disk.flush(self.data_root)
            self._earlier = None
        if not check_state(self.path):
            disk.make_directory(self.path)
            disk.flush(self.data_root)

    def clear_stage(self) -> None:
        """Drop what a run prepared, or what another has taken out of the data root again."""
        remove_tree(self.stage)
        remove_tree(self.saved)
        disk.remove_file(self.left_out)
        disk.remove_file(self.manifest)

    def inherit(self) -> None:
        """Begin with the layers that are hashed in others which nothing was published from.

        Whether they still are what they were, the journal tells.
        """
        if self.journal.exists():
            return
        for other in self.all(self.data_root):
            if other.path != self.path and other.phase is Phase.PREPARING:
                self._inherit(other)
                return

    def _inherit(self, other: StateDirectory) -> None:
        if other.records.is_dir() and not self.records.exists():
            disk.make_directory(self.records)
            for name, _ in list_directory(other.records):
                # Another thing is no record, and its layer hashed anew.
                if is_regular(other.records / name):
                    disk.link_or_copy(other.records / name, self.records / name)
        # A rollback journal beside it would be the other's, and is not looked at.
        journal = read_file(other.journal, MAX_JOURNAL)
        if journal is not None:
            disk.write_atomically(self.journal, journal)

    def remove(self) -> None:
        """Remove the directory and all in it; it may be gone already."""
        remove_layers(self.trees)
        remove_tree(self.path)
        disk.flush(self.data_root)


def is_state(name: str) -> bool:
    """Whether a name in a data root is a migration's state directory's."""
    return _names.fullmatch(name) is not None
