"""Reading a file of a layer's source for a copy of it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from migrator.errors import LayerError
from migrator.tree.descent import unreadable

_BLOCK = 1 << 20


def pieces(path: bytes, fd: int, status: os.stat_result) -> Iterator[tuple[int, bytes]]:
    """The file's content without its holes, by offset."""
    size = status.st_size
    sparse = status.st_blocks * 512 < size
    end = 0
    with reading(path):
        while end < size:
            start, end = _extent(fd, end, size) if sparse else (end, size)
            while start < end:
                data = os.pread(fd, min(_BLOCK, end - start), start)
                if not data:
                    raise _changed(path)
                yield start, data
                start += len(data)


def _extent(fd: int, offset: int, size: int) -> tuple[int, int]:
    """Where the next data begin and end; `size` twice if there are none."""
    try:
        start = os.lseek(fd, offset, os.SEEK_DATA)
        return start, min(size, os.lseek(fd, start, os.SEEK_HOLE))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size, size


def check_unchanged(path: bytes, fd: int, status: os.stat_result) -> None:
    """Raise LayerError unless the open file is what `status` was taken of."""
    if _version(os.fstat(fd)) != _version(status):
        raise _changed(path)


def _version(status: os.stat_result) -> tuple[int, ...]:
    """What tells one state of one file from another."""
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


def _changed(path: bytes) -> LayerError:
    return LayerError("was changed while it was read", subject=os.fsdecode(path))


@contextlib.contextmanager
def reading(path: bytes) -> Iterator[None]:
    """An OSError in it is about `path` in the source."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from None
