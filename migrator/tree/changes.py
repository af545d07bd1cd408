"""What a layer changes: by comparing complete trees, or as its own directory says.

The rules are those of Docker 1.10 (`pkg/archive/changes.go`, `changes_linux.go`,
`changes_unix.go`, and the aufs driver's `Diff`); they decide which entries a
layer's tar has and in which order.
"""

from __future__ import annotations

import enum
import os
import stat
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from migrator.tree.capability import capability_of
from migrator.tree.descent import Descent, unreadable
from migrator.tree.mtimes import same_through_tar
from migrator.tree.walk import Step, Walk, names_below

WHITEOUT = b".wh."
AUFS_META = b".wh..wh."
AUFS_OPAQUE = b".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class DiffSource:
    """How a layer's diff comes about; the storage driver knows.

    `tree`: all of `root`; `compare`: `root` against the complete tree `parent`,
    which is None for the others; `branch`: the aufs branch `root`.
    """

    kind: Literal["tree", "compare", "branch"]
    root: Path
    parent: Path | None = None


class ChangeKind(enum.Enum):
    """How a path differs from the parent layer; the letters are `docker diff`'s."""

    ADDED = "A"
    MODIFIED = "C"
    DELETED = "D"


class Change(NamedTuple):
    """One path of a layer, relative to its root and without a trailing slash."""

    path: bytes
    kind: ChangeKind


_TAGS = {kind: b"\0" + kind.value.encode() for kind in ChangeKind}
_KINDS = {tag[1]: kind for kind, tag in _TAGS.items()}


class ChangeList:
    """Changes sorted bytewise by whole path.

    Kept as one string a change, the path and a tag behind a NUL: that takes a
    third of what objects would, and sorts as the path alone does, because no
    name holds a NUL.
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: list[bytes]) -> None:
        lines.sort()
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Change]:
        for line in self._lines:
            yield Change(line[:-2], _KINDS[line[-1]])

    def __contains__(self, path: bytes) -> bool:
        line = path + b"\0"
        at = bisect_left(self._lines, line)
        return at < len(self._lines) and self._lines[at].startswith(line)

    def clashing_whiteout(self) -> bytes | None:
        """A listed file whose name a deletion's whiteout takes as well, if there is one."""
        for path, kind in self:
            if kind is ChangeKind.DELETED and whiteout_of(path) in self:
                return whiteout_of(path)
        return None


def whiteout_of(path: bytes) -> bytes:
    """`d/.wh.n`, which says in a layer that `d/n` is gone."""
    directory, slash, name = path.rpartition(b"/")
    return directory + slash + WHITEOUT + name


def tree(root: Path) -> Iterator[Change]:
    """All that is below `root`, in the order of a walk with sorted directories.

    Raises `LayerError`.
    """
    return _added(root)


def branch(root: Path) -> Iterator[Change]:
    """All of an aufs branch but aufs's own bookkeeping; whiteouts are files like any other.

    Raises `LayerError`.
    """
    return _added(root, lambda name: not name.startswith(AUFS_META) or name == AUFS_OPAQUE)


def compare(new: Path, old: Path) -> ChangeList:
    """How the complete tree `new` differs from its parent's, `old`.

    Raises `LayerError`, naming what could not be looked at.
    """
    with Descent(new) as new_at, Descent(old) as old_at:
        comparison = _Comparison(new_at, old_at)
        deque(Walk(new_at, old_at, comparison.look), maxlen=0)
        return ChangeList(comparison.lines)


def _added(root: Path, wanted_at_top: Callable[[bytes], bool] | None = None) -> Iterator[Change]:
    with Descent(root) as at:
        for path, _, _ in names_below(at, wanted_at_top):
            yield Change(path, ChangeKind.ADDED)


_Directories = list[Step[None]]
"""Those that are still to be looked into, in both trees or only in the new one."""


class _Comparison:
    """One comparison of two trees, directory by directory, each listed once at most.

    Names stay as `os.scandir` gives them (bytes would cost a conversion for
    every file that two overlay layers share) until something is recorded, in
    `lines`.
    """

    def __init__(self, new: Descent, old: Descent) -> None:
        self.lines: list[bytes] = []
        self._new = new
        self._old = old
        # Directories that are in the list already.
        self._listed: set[bytes] = {b""}

    def look(self, prefix: bytes, old: Descent | None, _: None) -> _Directories:
        """Record what differs in a directory; returns the directories in it still to look into."""
        return self._all_new(prefix) if old is None else self._compared(prefix)

    def _all_new(self, prefix: bytes) -> _Directories:
        with os.scandir(self._new.fd) as entries:
            return [
                (name, None, True, False) for entry in entries if (name := self._add(prefix, entry))
            ]

    def _compared(self, prefix: bytes) -> _Directories:
        before = len(self.lines)
        same_device = os.fstat(self._new.fd).st_dev == os.fstat(self._old.fd).st_dev
        old_inodes = self._old_inodes()
        found: _Directories = []
        with os.scandir(self._new.fd) as entries:
            for entry in entries:
                old_inode = old_inodes.pop(entry.name, None)
                if old_inode is None:
                    if name := self._add(prefix, entry):
                        found.append((name, None, True, False))
                elif not (same_device and old_inode == entry.inode()):
                    name = os.fsencode(entry.name)
                    is_directory, in_both = self._compare_entry(prefix, name)
                    if is_directory:
                        found.append((name, None, True, in_both))
        self._delete(prefix, old_inodes)
        if len(self.lines) > before:
            self._list_directory(prefix[:-1])
        return found

    def _compare_entry(self, prefix: bytes, name: bytes) -> tuple[bool, bool]:
        """Record how a name differs that is in both; returns in which trees it is a directory."""
        path = prefix + name
        new_fd, old_fd = self._new.fd, self._old.fd
        try:
            new = os.stat(name, dir_fd=new_fd, follow_symlinks=False)
            old = os.stat(name, dir_fd=old_fd, follow_symlinks=False)
            changed = status_differs(new, old) or (
                (capability_of(new_fd, name) or b"") != (capability_of(old_fd, name) or b"")
            )
        except OSError as error:
            raise unreadable(path, error) from None
        if changed:
            self.lines.append(path + _TAGS[ChangeKind.MODIFIED])
        was_directory = stat.S_ISDIR(old.st_mode)
        if stat.S_ISDIR(new.st_mode):
            if changed:
                self._listed.add(path)
            return True, was_directory
        if was_directory and _has_directory_bit(new.st_mode):
            self._old.down(name)
            self._delete(path + b"/", self._old_inodes())
            self._old.up()
        return False, was_directory

    def _old_inodes(self) -> dict[str, int]:
        with os.scandir(self._old.fd) as entries:
            return {entry.name: entry.inode() for entry in entries}

    def _add(self, prefix: bytes, entry: os.DirEntry[str]) -> bytes:
        """Record what is only in the new tree; returns its name if it is a directory."""
        name = os.fsencode(entry.name)
        self.lines.append(prefix + name + _TAGS[ChangeKind.ADDED])
        return name if entry.is_dir(follow_symlinks=False) else b""

    def _delete(self, prefix: bytes, names: dict[str, int]) -> None:
        tag = _TAGS[ChangeKind.DELETED]
        self.lines.extend(prefix + os.fsencode(name) + tag for name in names)

    def _list_directory(self, directory: bytes) -> None:
        """Record that something changed below `directory`, for it and all above it."""
        while directory not in self._listed:
            self._listed.add(directory)
            self.lines.append(directory + _TAGS[ChangeKind.MODIFIED])
            directory = directory.rpartition(b"/")[0]


def status_differs(new: os.stat_result, old: os.stat_result) -> bool:
    """Whether Docker takes a file for changed, as far as its status tells."""
    if (
        new.st_mode != old.st_mode
        or new.st_uid != old.st_uid
        or new.st_gid != old.st_gid
        or new.st_rdev != old.st_rdev
    ):
        return True
    if _has_directory_bit(new.st_mode):
        return False
    return new.st_size != old.st_size or not same_through_tar(new.st_mtime_ns, old.st_mtime_ns)


def _has_directory_bit(mode: int) -> bool:
    """Whether Docker takes this for a directory when comparing.

    It asks for the bit S_IFDIR, which block devices and sockets have as well:
    their times are not compared, and what a directory held that one of them
    replaces is deleted name by name.
    """
    return bool(mode & stat.S_IFDIR)
