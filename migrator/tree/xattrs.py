"""Extended attributes of files by directory descriptor, and which of them overlayfs understands."""

from __future__ import annotations

import errno
import os

OVERLAY = "trusted.overlay."
OPAQUE = OVERLAY + "opaque"
_REDIRECT = OVERLAY + "redirect"

# Those by which overlayfs shows something else than what stands there (Linux
# fs/overlayfs/overlayfs.h). With all others it takes notes for itself.
OVERLAY_MEANINGS = frozenset((OPAQUE, _REDIRECT, OVERLAY + "metacopy", OVERLAY + "whiteout"))

_NONE = frozenset((errno.ENODATA, errno.ENOTSUP))


def path_at(directory: int, name: bytes) -> bytes:
    """A path for calls that take neither a directory descriptor nor a path over PATH_MAX."""
    return b"/proc/self/fd/%d/%b" % (directory, name)


def xattr_names(file: bytes | int) -> list[str]:
    """The names of all attributes that count: not overlayfs's notes. Raises OSError.

    `file` is a descriptor, or a path of which the last link is not followed.
    """
    try:
        if isinstance(file, int):
            names = os.listxattr(file)
        else:
            names = os.listxattr(file, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NONE:
            return []
        raise
    return [name for name in names if not name.startswith(OVERLAY) or name in OVERLAY_MEANINGS]


def xattrs_of(file: bytes | int) -> dict[str, bytes]:
    """Those attributes with their values, likewise."""
    names = xattr_names(file)
    if isinstance(file, int):
        return {name: os.getxattr(file, name) for name in names}
    return {name: os.getxattr(file, name, follow_symlinks=False) for name in names}


def is_opaque(directory: bytes) -> bool:
    """Whether overlayfs takes `directory` for an opaque one. Raises OSError."""
    return _value(directory, OPAQUE) == b"y"


def is_redirected(directory: bytes) -> bool:
    """Whether overlayfs merges `directory` with one of another name. Raises OSError."""
    return _value(directory, _REDIRECT) is not None


def _value(file: bytes, name: str) -> bytes | None:
    try:
        return os.getxattr(file, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise
