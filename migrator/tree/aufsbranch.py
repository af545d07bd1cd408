"""What the files of an aufs branch mean.

A file `.wh.NAME` deletes NAME in the branches below, `.wh..wh..opq` makes its
directory opaque, other `.wh..wh.*` at the top are aufs's own (Linux aufs
manual, "Branch Syntax"; Docker 1.9 daemon/graphdriver/aufs).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from migrator.tree.changes import AUFS_META, AUFS_OPAQUE, WHITEOUT
from migrator.tree.descent import Descent

_WHITEOUT, _META, _OPAQUE = (os.fsdecode(name) for name in (WHITEOUT, AUFS_META, AUFS_OPAQUE))
_NO_NAMES = frozenset(("", ".", ".."))


def is_marker(name: str) -> bool:
    """Whether a branch's file of this name is never shown."""
    return name.startswith(_WHITEOUT)


def deleted(name: str, top: bool) -> str | None:
    """Which name the marker `name` deletes, in the root directory of a branch (`top`) or below."""
    if name == _OPAQUE or (top and name.startswith(_META)):
        return None
    rest = name[len(_WHITEOUT) :]
    return None if rest in _NO_NAMES else rest


def is_opaque(directory: int, name: str | None = None) -> bool:
    """Whether the directory `name` in `directory`, or that one itself, is opaque."""
    return _exists(_OPAQUE if name is None else f"{name}/{_OPAQUE}", directory)


class Below:
    """What is to be seen in the branches underneath, nearest first. Methods raise LayerError."""

    def __init__(self, branches: tuple[Path, ...]) -> None:
        self._branches = branches

    def has_directory(self, path: bytes) -> bool:
        """Whether there is a directory `path` to be seen."""
        for branch in self._branches:
            with Descent(branch) as at:
                found = _look_for(at, path)
            if found is not None:
                return found
        return False

    def names_at_top(self) -> set[str]:
        """All names that the root directories have, if only to delete them."""
        names: set[str] = set()
        for branch in self._branches:
            with Descent(branch) as at:
                names.update(name for name in os.listdir(at.fd) if not is_marker(name))
        return names


def _look_for(at: Descent, path: bytes) -> bool | None:
    """Whether the directory `path` is to be seen in a branch; None if those below decide."""
    for name in path.split(b"/") if path else []:
        try:
            at.down(name)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                return False
            if error.errno != errno.ENOENT:
                raise
            hidden = _exists(WHITEOUT + name, at.fd) or is_opaque(at.fd)
            return False if hidden else None
    return True


def _exists(name: bytes | str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return False
        raise
    return True
