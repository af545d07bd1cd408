"""The one extended attribute that Docker 1.10 compares and carries: `security.capability`."""

from __future__ import annotations

import errno
import os

from migrator.tree.xattrs import path_at

_ATTRIBUTE = "security.capability"
_NONE = frozenset((errno.ENODATA, errno.ENOTSUP))


def capability_of(directory: int, name: bytes) -> bytes | None:
    """The capability of `name` below the descriptor `directory`; links are not followed.

    None if it has none or the file system has no such thing. Raises OSError.
    """
    # There is no getxattrat(2) before Linux 6.13, and a whole path may exceed PATH_MAX.
    return _get(path_at(directory, name))


def capability_of_open(fd: int) -> bytes | None:
    """The capability of an open file, likewise."""
    return _get(fd)


def _get(file: bytes | int) -> bytes | None:
    try:
        if isinstance(file, int):
            return os.getxattr(file, _ATTRIBUTE)
        return os.getxattr(file, _ATTRIBUTE, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise
