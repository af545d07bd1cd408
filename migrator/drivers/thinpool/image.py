"""A thin device as a sparse file."""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from migrator.drivers.thinpool.mapping import Mapping, Run, changed, total, unmapped
from migrator.drivers.thinpool.pool import Device, ThinPool
from migrator.errors import LayerError
from migrator.system import disk

PREFIX = "migrator-image-"
"""What the names of images begin with for the moment that they have one."""

_CHUNK = 1 << 20
# Chunks that the kernel is told of before they are read.
_AHEAD = 8

_libc = ctypes.CDLL(None, use_errno=True)
# <linux/falloc.h>
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2

_buffer = memoryview(bytearray(_CHUNK))


class _Chunk(NamedTuple):
    source: int
    target: int
    length: int


class Image:
    """A sparse file in `directory` that holds the mapped blocks of a device.

    `mapping` is what is in it. Its name is gone before anything is; what there
    is of it is `fd`, open for reading and writing.
    """

    def __init__(self, directory: Path, block_size: int, *, roomy: bool) -> None:
        """`roomy`: it may keep the room of what it no longer holds.

        Raises StoreError when the file cannot be made.
        """
        self._directory = directory
        self._block_size = block_size
        self._roomy = roomy
        self.mapping = Mapping()
        with disk.operation("create", directory):
            self.fd, name = tempfile.mkstemp(prefix=PREFIX, dir=directory)
            # Another run may be clearing up.
            Path(name).unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the file."""
        os.close(self.fd)

    def become(self, device: Device, pool: ThinPool, others: Iterable[Image] = ()) -> None:
        """Hold `device`: copy the blocks that are not in it yet, drop those that no longer are.

        Blocks that one of `others` has come from there, so that little is read
        from `pool`. Raises LayerError when the pool cannot be read, StoreError
        when the image cannot be written; it holds nothing then.
        """
        before, self.mapping = self.mapping, Mapping()
        wanted = changed(device.mapping, before)
        with disk.operation("write", self._directory):
            if not before.blocks:
                # An attempt that failed may have left something.
                os.ftruncate(self.fd, 0)
            for origin, _, length in unmapped(device.mapping, before):
                self._drop(origin * self._block_size, length * self._block_size)
            os.ftruncate(self.fd, device.blocks * self._block_size)
            for other in others:
                rest = changed(wanted, other.mapping)
                self._copy(other.fd, ((o, o, n) for o, _, n in changed(wanted, rest)))
                wanted = rest
            self._copy(pool.data, wanted)
        self.mapping = device.mapping

    def copy(self) -> Image:
        """Another image with the same content. Raises StoreError when there is no room for it."""
        other = Image(self._directory, self._block_size, roomy=self._roomy)
        try:
            with disk.operation("write", self._directory):
                os.ftruncate(other.fd, os.fstat(self.fd).st_size)
                other._copy(self.fd, ((o, o, n) for o, _, n in self.mapping))
        except BaseException:
            other.close()
            raise
        return other

    def distance(self, device: Device) -> int:
        """How many blocks would have to be copied for it to hold `device`."""
        return total(changed(device.mapping, self.mapping))

    def _copy(self, source: int, runs: Iterable[Run]) -> None:
        """Copy runs of blocks out of the file `source`, telling the kernel what comes next."""
        waiting: deque[_Chunk] = deque()
        for chunk in self._chunks(runs):
            os.posix_fadvise(source, chunk.source, chunk.length, os.POSIX_FADV_WILLNEED)
            waiting.append(chunk)
            if len(waiting) > _AHEAD:
                _transfer(source, self.fd, waiting.popleft())
        for chunk in waiting:
            _transfer(source, self.fd, chunk)

    def _chunks(self, runs: Iterable[Run]) -> Iterator[_Chunk]:
        for origin, block, length in runs:
            source, target = block * self._block_size, origin * self._block_size
            size = length * self._block_size
            for start in range(0, size, _CHUNK):
                yield _Chunk(source + start, target + start, min(_CHUNK, size - start))

    def _drop(self, offset: int, length: int) -> None:
        """Have zeros there: written, or, where room is scarce, as a hole."""
        if self._roomy or not self._punch(offset, length):
            zeros = memoryview(bytes(min(length, _CHUNK)))
            for start in range(0, length, _CHUNK):
                _write(self.fd, zeros[: length - start], offset + start)

    def _punch(self, offset: int, length: int) -> bool:
        """Make a hole, which has file systems wait for the disk; False if this one cannot."""
        mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
        if _libc.fallocate(self.fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)):
            number = ctypes.get_errno()
            if number != errno.EOPNOTSUPP:
                raise OSError(number, os.strerror(number))
            return False
        return True


def _transfer(source: int, target: int, chunk: _Chunk) -> None:
    """Copy a part of one file; where the file system can, it only shares it."""
    done = 0
    while done < chunk.length:
        rest = chunk.length - done
        at, to = chunk.source + done, chunk.target + done
        try:
            copied = os.copy_file_range(source, target, rest, at, to)
        except OSError:
            # Between these two it may not work at all; and this tells which of them failed.
            copied = 0
        if not copied:
            copied = _read(source, _buffer[:rest], at)
            _write(target, _buffer[:copied], to)
        done += copied


def _read(source: int, buffer: memoryview, offset: int) -> int:
    try:
        got = os.preadv(source, [buffer], offset)
    except OSError as error:
        raise LayerError(f"the thin pool's data cannot be read ({error.strerror})") from None
    if not got:
        raise LayerError(f"the thin pool's data have ended before byte {offset}")
    return got


def _write(target: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(target, data, offset)
        data, offset = data[done:], offset + done
