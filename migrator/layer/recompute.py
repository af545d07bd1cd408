"""A layer's diffID and tar-split record when no old record can tell: changes, tar, digest.

One pass over the data: while the tar streams by, it is hashed and its record
is written. Nothing is kept but that record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from migrator.errors import LayerError, StoreError
from migrator.layer.difftar import write_diff
from migrator.layer.digest import LayerDigest
from migrator.layer.fingerprint import Fingerprint
from migrator.layer.recordwriter import RecordWriter
from migrator.layer.tarhash import TarHash
from migrator.tree.changes import Change, DiffSource, branch, compare, tree


def recompute(
    source: DiffSource, record: Path, progress: Callable[[int], None] = lambda _: None
) -> LayerDigest:
    """Hash the tar of a layer's diff and write its tar-split record to `record`.

    `progress` is called now and then with the number of tar bytes hashed since
    the last call. The record is complete, though not synced to disk, or gone if
    anything is raised: `LayerError` naming the file that could not be read or
    was changed meanwhile, `StoreError` if the record cannot be written.
    """
    with RecordWriter(record) as writer:
        sink = _DigestAndRecord(writer, progress)
        write_diff(source.root, changes_of(source), sink)
        diff_id = sink.tar.finish()
    return LayerDigest(
        diff_id,
        writer.size,
        sink.tar.length,
        sink.files,
        writer.entries,
        _completed(sink.fingerprint, record),
    )


def fingerprint_recomputed(source: DiffSource, record: Path) -> str:
    """The fingerprint that `recompute` would give, had it written `record`.

    Reads no file's content. Raises as `recompute` does.
    """
    sink = _FingerprintOnly()
    write_diff(source.root, changes_of(source), sink)
    return _completed(sink.fingerprint, record)


class _DigestAndRecord:
    """Hashes the tar and notes it down."""

    def __init__(self, record: RecordWriter, progress: Callable[[int], None]) -> None:
        self.tar = TarHash(progress)
        self.fingerprint = Fingerprint()
        self.files = 0
        self._record = record

    def raw(self, data: bytes) -> None:
        self.tar.write(data)
        self.fingerprint.data(data)
        self._record.segment(data)

    def no_content(self, name: bytes) -> None:
        self._record.file(name, 0, 0)

    def content(self, name: bytes, fd: int, status: os.stat_result) -> int:
        got, crc = self.tar.read(fd, status.st_size)
        self.files += 1
        self.fingerprint.file(name, status)
        self._record.file(name, status.st_size, crc)
        return got


class _FingerprintOnly:
    def __init__(self) -> None:
        self.fingerprint = Fingerprint()

    def raw(self, data: bytes) -> None:
        self.fingerprint.data(data)

    def no_content(self, name: bytes) -> None:
        """Its header has said it all."""

    def content(self, name: bytes, fd: int, status: os.stat_result) -> int:
        self.fingerprint.file(name, status)
        return status.st_size


def changes_of(source: DiffSource) -> Iterable[Change]:
    """The changes that a layer's diff consists of, in the order of its tar. Raises LayerError."""
    if source.kind == "tree":
        return tree(source.root)
    if source.kind == "branch":
        return branch(source.root)
    if source.parent is None:
        raise ValueError("comparing takes a parent")
    changes = compare(source.root, source.parent)
    clash = changes.clashing_whiteout()
    if clash is not None:
        # tar-split refuses a tar that names a path twice, and so did Docker.
        raise LayerError("stands where a whiteout has to be", subject=os.fsdecode(clash))
    return changes


def _completed(fingerprint: Fingerprint, record: Path) -> str:
    try:
        fingerprint.record(record)
    except OSError as error:
        raise StoreError(
            f"the tar-split record cannot be read again ({error.strerror})", subject=str(record)
        ) from None
    return fingerprint.hexdigest()
