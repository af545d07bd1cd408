"""When a file was created (statx(2)), which os.stat does not tell on Linux."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800

# struct statx of linux/stat.h: its size, and where stx_mask and stx_btime are.
_SIZE = 256
_MASK = slice(0, 4)
_SECONDS = slice(80, 88)
_NANOSECONDS = slice(88, 92)


def creation_time_ns(path: Path) -> int | None:
    """Nanoseconds since 1970; None where C library, kernel or file system do not tell."""
    try:
        statx = ctypes.CDLL(None).statx
    except AttributeError:
        return None
    buffer = ctypes.create_string_buffer(_SIZE)
    if statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, buffer):
        return None

    def number(where: slice, signed: bool = False) -> int:
        return int.from_bytes(buffer.raw[where], sys.byteorder, signed=signed)

    if not number(_MASK) & _STATX_BTIME:
        return None
    return number(_SECONDS, signed=True) * 10**9 + number(_NANOSECONDS)
