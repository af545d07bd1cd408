"""Where an export is made, and how it gets its name once it is complete.

Everything is made in a directory aside, beside the output or in it, whose name
tells what it is: a run that is killed leaves nothing else, and the next one with
the same output clears it away.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from migrator.errors import DataRootError, StoreError, UsageError
from migrator.state import lock
from migrator.system import disk
from migrator.tree.removal import remove_tree

_ASIDE = ".migrator-export"
_TEMPORARY = "migrator-export-"


class Output:
    """The file or directory that an export becomes.

    `names` are those that a directory's entries will have, in the order in
    which they may appear; none for a file. Raises UsageError when there is
    something in the way, or when the output would lie in `data_root`.
    """

    def __init__(self, path: Path, data_root: Path, names: Sequence[str] = ()) -> None:
        self.path = path.absolute()
        self._names = names
        self._published = False
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(data_root)):
            raise UsageError("nothing is written into the data root", subject=str(path))
        with disk.operation("stat", self.path):
            there, parent = self.path.is_dir(), self.path.parent.is_dir()
        if not parent:
            raise UsageError("there is no such directory", subject=str(self.path.parent))
        # A directory that is there already may be a mount point, which cannot be replaced.
        self._inside = bool(names) and there
        if self._inside:
            self.aside = self.path / _ASIDE
            self._refuse_content()
        else:
            self.aside = self.path.with_name(f".{self.path.name}{_ASIDE}")
            self._refuse_existing()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Path]:
        """The empty directory aside, which is gone at the end. Raises StoreError.

        Raises DataRootError when another process is making the same output.
        """
        with _directory(self.aside) as found:
            if not found:
                # Another run may have just become complete here.
                self._refuse_content({_ASIDE})
            self._clear_inside()
            try:
                yield self.aside
            finally:
                if not self._published:
                    self._clear_inside()

    def publish(self, made: Path) -> None:
        """Give `made`, in the directory aside or that itself, its name."""
        disk.flush_file_system(self.aside)
        if self._inside:
            for name in self._names:
                disk.replace(made / name, self.path / name)
            disk.flush(self.path)
        else:
            self._refuse_existing()
            disk.replace(made, self.path)
            disk.flush(self.path.parent)
        self._published = True

    def _clear_inside(self) -> None:
        """Take away what came out of the directory aside without the rest."""
        if self._inside:
            for name in self._names:
                _remove(self.path / name)

    def _refuse_existing(self) -> None:
        if os.path.lexists(self.path):
            what = "is there already"
            if self._names:
                what = "is there already, and no empty directory"
            raise UsageError(what, subject=str(self.path))

    def _refuse_content(self, ours: Set[str] = frozenset()) -> None:
        """Refuse a directory that holds more than `ours`, unless a killed run has left that."""
        if not self._inside:
            return
        with disk.operation("list", self.path):
            found = {*os.listdir(self.path)}
        left = not ours and _ASIDE in found and found <= {_ASIDE, *self._names}
        if not (left or found <= ours):
            raise UsageError("is not empty", subject=str(self.path))


@contextlib.contextmanager
def temporary(parent: Path | None) -> Iterator[Path]:
    """An empty directory for what has no output on a disk; gone at the end. Raises StoreError.

    In `parent` or where temporary files go; what killed runs left there is removed.
    """
    top = parent or Path(tempfile.gettempdir())
    with disk.operation("list", top):
        found = [entry for entry in top.iterdir() if entry.name.startswith(_TEMPORARY)]
    for path in found:
        # Somebody else's, or at work: not ours to remove.
        with contextlib.suppress(DataRootError, StoreError, OSError):
            if path.lstat().st_uid == os.geteuid():
                with _directory(path):
                    pass
    with disk.operation("mkdir", top):
        path = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=top))
    with _directory(path, 0o700):
        yield path


@contextlib.contextmanager
def _directory(path: Path, mode: int = 0o777) -> Iterator[bool]:
    """A directory that only this process works in: emptied at first, removed at the end.

    Gives whether it was there before.
    """
    found = path.is_dir() and not path.is_symlink()
    if not found:
        disk.make_directory(path, mode)
    with lock.exclusive(path):
        _empty(path)
        try:
            yield found
        finally:
            # It may have become the output.
            if path.is_dir():
                remove_tree(path)


def _empty(directory: Path) -> None:
    with disk.operation("list", directory):
        children = list(directory.iterdir())
    for child in children:
        _remove(child)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        disk.remove_file(path)
