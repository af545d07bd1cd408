"""SHA-256 of a tar that streams by, with as little else as can be.

Headers and small files are put together in one reused buffer, files read
straight into it and checked there. Files of a megabyte and more are mapped,
so that they are not copied at all: copying takes a sixth of the time of hashing.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable

from fastcrc import crc64

from migrator.layer.identity import SHA256

# Small enough to stay in a core's second-level cache between read and hash.
BUFFER = 256 << 10

# Files this large are mapped, so much of them at a time.
_MAPPED = 1 << 20
_WINDOW = 8 << 20

# <linux/mman.h>, Linux 5.14; Python does not know it.
_MADV_POPULATE_READ = 22

# How many bytes are hashed between two reports of progress, about.
_REPORT = 8 << 20

# Takes the bytes of a tar.
Sink = Callable[[memoryview], object]


class TarHash:
    """SHA-256 of what is written and read into it, in order.

    `length` counts the bytes taken in so far. `progress` is called now and then
    with the number of bytes hashed since the last call, `sink`, if there is one,
    with all of them, in pieces that are its own only during the call.
    """

    def __init__(
        self, progress: Callable[[int], None] = lambda _: None, sink: Sink | None = None
    ) -> None:
        self.length = 0
        self._sink = sink
        self._sha = hashlib.sha256()
        # A mapping begins at a page, where the kernel copies a twentieth faster.
        self._view = memoryview(mmap.mmap(-1, BUFFER))
        self._filled = 0
        self._progress = progress
        self._reported = 0

    def write(self, data: bytes) -> None:
        """Take in raw bytes."""
        end = self._filled + len(data)
        if end > BUFFER:
            self._flush()
            if len(data) > BUFFER:
                self._update(memoryview(data))
                return
            end = len(data)
        self._view[self._filled : end] = data
        self._filled = end

    def read(self, fd: int, size: int) -> tuple[int, int]:
        """Take in up to `size` bytes of `fd`, from its beginning.

        Returns how many there were, and their CRC-64. Raises OSError.
        """
        got = crc = 0
        if size >= _MAPPED:
            got, crc = self._take_mapped(fd, size)
            os.lseek(fd, got, os.SEEK_SET)
        while got < size:
            if self._filled == BUFFER:
                self._flush()
            piece = self._view[self._filled : self._filled + size - got]
            read = os.readv(fd, (piece,))
            if read < len(piece):
                if not read:
                    break
                piece = piece[:read]
            crc = crc64.go_iso(piece, crc)
            self._filled += read
            got += read
        return got, crc

    def finish(self) -> str:
        """The digest of everything taken in."""
        self._flush()
        if self.length > self._reported:
            self._progress(self.length - self._reported)
            self._reported = self.length
        return SHA256 + self._sha.hexdigest()

    def _flush(self) -> None:
        with self._view[: self._filled] as content:
            self._update(content)
        self._filled = 0

    def _update(self, content: memoryview) -> None:
        self._sha.update(content)
        if self._sink is not None:
            self._sink(content)
        self.length += len(content)
        if self.length - self._reported >= _REPORT:
            self._progress(self.length - self._reported)
            self._reported = self.length

    def _take_mapped(self, fd: int, size: int) -> tuple[int, int]:
        """Take in `size` bytes of `fd`, or as many as can be mapped; returns as `read` does."""
        self._flush()
        crc = 0
        for start in range(0, size, _WINDOW):
            length = min(_WINDOW, size - start)
            try:
                window = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=start)
            except (OSError, ValueError):
                return start, crc
            with window:
                try:
                    window.madvise(_MADV_POPULATE_READ)
                except OSError:
                    # An old kernel, the file's end, or its disk: reading tells which.
                    return start, crc
                with memoryview(window) as view:
                    for at in range(0, length, BUFFER):
                        with view[at : at + BUFFER] as piece:
                            # The hash first: it is slow enough for memory to keep up with it.
                            self._update(piece)
                            crc = crc64.go_iso(piece, crc)
        return size, crc
