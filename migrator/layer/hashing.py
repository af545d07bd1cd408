"""From a tar-split record and a layer's files to the layer's diffID.

The tar is put together in one reused buffer: raw bytes are copied in, file
contents are read straight into it, checked against the record's CRC-64 there,
and hashed when the buffer is full. Nothing is copied twice and memory does not
depend on the size of a layer, a file or a record.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastcrc import crc64

from migrator.errors import LayerError, RecordError
from migrator.layer.confined import LayerDirectory, NotRegular
from migrator.layer.fingerprint import Fingerprint
from migrator.layer.identity import SHA256
from migrator.layer.tarsplit import FileEntry, Record

# Small enough to stay in a core's second-level cache between read and hash.
BUFFER = 256 << 10

# How many bytes are hashed between two reports of progress, about.
_REPORT = 8 << 20

# What the file system says when the tree is not the one that was recorded; any
# other failure is one of reading, and no other way to the digest would fare better.
_NOT_THERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG))


@dataclass(frozen=True, slots=True)
class LayerDigest:
    """What hashing a layer gave.

    `size` is the sum of the entries' sizes (what Docker records), `tar_bytes`
    the length of the tar, `files` the number of files with content that were
    read, `entries` the number of tar entries, `fingerprint` what the digest
    was computed from (`migrator.layer.fingerprint`).
    """

    diff_id: str
    size: int
    tar_bytes: int
    files: int
    entries: int
    fingerprint: str


def digest_record(
    record_path: Path, directory: Path, progress: Callable[[int], None] = lambda _: None
) -> LayerDigest:
    """Rebuild a layer's tar from its record and the files below `directory`, and hash it.

    `progress` is called now and then with the number of tar bytes hashed since
    the last call. Raises `RecordError`, naming the first file that does not
    match, when the record cannot rebuild the tar, and `LayerError` when the
    directory or a file cannot be read for a reason that is not the record's.
    """
    record = Record(record_path)
    tar = TarHash(progress)
    fingerprint = Fingerprint()
    with LayerDirectory(directory) as files:
        for item in record:
            if type(item) is FileEntry:
                _read_file(files, item, tar, fingerprint)
            else:
                tar.write(item)  # type: ignore[arg-type]
    diff_id = tar.finish()
    fingerprint.record(record_path)
    return LayerDigest(
        diff_id, record.size, tar.length, record.files, record.entries, fingerprint.hexdigest()
    )


def fingerprint_record(record_path: Path, directory: Path) -> str:
    """The fingerprint that `digest_record` would give, without reading the files.

    Raises as it does, but knows nothing of the files' content.
    """
    fingerprint = Fingerprint()
    with LayerDirectory(directory) as files:
        for item in Record(record_path):
            if type(item) is FileEntry:
                try:
                    fd, status = files.open(item.name)
                except (OSError, ValueError) as error:
                    raise _failure(item.name, error) from None
                os.close(fd)
                fingerprint.file(item.name, status)
    fingerprint.record(record_path)
    return fingerprint.hexdigest()


class TarHash:
    """SHA-256 of a stream that is put together in one buffer.

    `length` counts the bytes taken in so far.
    """

    def __init__(self, progress: Callable[[int], None] = lambda _: None) -> None:
        self.length = 0
        self._sha = hashlib.sha256()
        self._view = memoryview(bytearray(BUFFER))
        self._filled = 0
        self._progress = progress
        self._reported = 0

    def write(self, data: bytes) -> None:
        """Take in raw bytes."""
        end = self._filled + len(data)
        if end > BUFFER:
            self._flush()
            if len(data) > BUFFER:
                self._sha.update(data)
                self.length += len(data)
                return
            end = len(data)
        self._view[self._filled : end] = data
        self._filled = end

    def read(self, fd: int, size: int) -> tuple[int, int]:
        """Take in up to `size` bytes of `fd`; returns how many there were and their CRC-64."""
        crc = 0
        left = size
        while left:
            if self._filled == BUFFER:
                self._flush()
            start = self._filled
            got = os.readv(fd, [self._view[start : start + left]])
            if not got:
                break
            self._filled = start + got
            crc = crc64.go_iso(self._view[start : self._filled], crc)
            left -= got
        return size - left, crc

    def finish(self) -> str:
        """The digest of everything taken in."""
        self._flush()
        if self.length > self._reported:
            self._progress(self.length - self._reported)
            self._reported = self.length
        return SHA256 + self._sha.hexdigest()

    def _flush(self) -> None:
        self._sha.update(self._view[: self._filled])
        self.length += self._filled
        self._filled = 0
        if self.length - self._reported >= _REPORT:
            self._progress(self.length - self._reported)
            self._reported = self.length


def _read_file(
    files: LayerDirectory, entry: FileEntry, tar: TarHash, fingerprint: Fingerprint
) -> None:
    try:
        fd, status = files.open(entry.name)
        try:
            if status.st_size != entry.size:
                raise RecordError(
                    f"the file has {status.st_size} bytes, the record says {entry.size}",
                    subject=os.fsdecode(entry.name),
                )
            got, crc = tar.read(fd, entry.size)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        raise _failure(entry.name, error) from None
    fingerprint.file(entry.name, status)
    if got != entry.size:
        raise RecordError(
            f"the file ended after {got} of {entry.size} bytes", subject=os.fsdecode(entry.name)
        )
    if crc != entry.crc:
        raise RecordError(
            "the file's content is not what the record was made from",
            subject=os.fsdecode(entry.name),
        )


def _failure(name: bytes, error: OSError | ValueError) -> LayerError:
    """Our error for what opening or reading the file `name` raised."""
    subject = os.fsdecode(name)
    if isinstance(error, ValueError):
        return RecordError("no file can have this name", subject=subject)
    if isinstance(error, NotRegular) or error.errno in _NOT_THERE:
        return RecordError(f"the record's file is not there ({error.strerror})", subject=subject)
    return LayerError(f"the file cannot be read ({error.strerror})", subject=subject)
