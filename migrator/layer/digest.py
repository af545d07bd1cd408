"""From a tar-split record and a layer's files to the layer's diffID.

Nothing is looked at but what the digest depends on, and memory does not depend
on the size of a layer, a file or a record.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import AS_ROOT, LayerError, RecordError
from migrator.layer.fingerprint import Fingerprint
from migrator.layer.tarhash import Sink, TarHash
from migrator.layer.tarsplit import FileEntry, Record
from migrator.tree.confined import LayerDirectory, NotRegular

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


class Method(enum.StrEnum):
    """How a layer's digest came about."""

    RECORD = "tar-split record"
    RECOMPUTED = "recomputed"


@dataclass(frozen=True, slots=True)
class HashedLayer:
    """A layer that was hashed: its digest and how it came about.

    `fault` says why the layer's own record was of no use, if it had one.
    `seconds` is the time it took in its worker; `kept` says that an earlier
    run had done it.
    """

    v1_id: str
    digest: LayerDigest
    method: Method
    fault: str | None
    seconds: float
    kept: bool = False


def digest_record(
    record_path: Path,
    directory: Path,
    progress: Callable[[int], None] = lambda _: None,
    sink: Sink | None = None,
) -> LayerDigest:
    """Rebuild a layer's tar from its record and the files below `directory`, and hash it.

    `progress` is called now and then with the number of tar bytes hashed since
    the last call, `sink`, if there is one, with the tar, piece by piece. Raises
    `RecordError`, naming the first file that does not match, when the record cannot
    rebuild the tar, and `LayerError` when the directory or a file cannot be read
    for a reason that is not the record's.
    """
    record = Record(record_path)
    tar = TarHash(progress, sink)
    fingerprint = Fingerprint()
    with LayerDirectory(directory) as files:
        for item in record:
            if isinstance(item, bytes):
                tar.write(item)
            else:
                _read_file(files, item, tar, fingerprint)
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
            if isinstance(item, tuple):
                name = item[0]
                try:
                    fd, status = files.open(name)
                except (OSError, ValueError) as error:
                    raise _failure(name, error) from None
                os.close(fd)
                fingerprint.file(name, status)
    fingerprint.record(record_path)
    return fingerprint.hexdigest()


def _read_file(
    files: LayerDirectory, entry: FileEntry, tar: TarHash, fingerprint: Fingerprint
) -> None:
    name, size, checksum = entry
    try:
        fd, status = files.open(name)
        try:
            if status.st_size != size:
                raise RecordError(
                    f"the file has {status.st_size} bytes, the record says {size}",
                    subject=os.fsdecode(name),
                )
            got, crc = tar.read(fd, size)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        raise _failure(name, error) from None
    fingerprint.file(name, status)
    if got != size:
        raise RecordError(f"the file ended after {got} of {size} bytes", subject=os.fsdecode(name))
    if crc.to_bytes(8, "big") != checksum:
        raise RecordError(
            "the file's content is not what the record was made from", subject=os.fsdecode(name)
        )


def _failure(name: bytes, error: OSError | ValueError) -> LayerError:
    """Our error for what opening or reading the file `name` raised."""
    subject = os.fsdecode(name)
    if isinstance(error, ValueError):
        return RecordError("no file can have this name", subject=subject)
    if isinstance(error, NotRegular) or error.errno in _NOT_THERE:
        return RecordError(f"the record's file is not there ({error.strerror})", subject=subject)
    hint = AS_ROOT if isinstance(error, PermissionError) and os.geteuid() != 0 else ""
    return LayerError(f"the file cannot be read ({error.strerror})", subject=subject, hint=hint)
