"""What a digest was computed from, in 32 bytes.

BLAKE3 over the tar-split record and, for every file whose content went into
the digest, its name, size, inode and mtime in nanoseconds. Link counts and
ctimes are not in it: our own hard links change those. Taking a fingerprint
again reads no file's content, so it costs a fraction of hashing.
"""

from __future__ import annotations

import os
from array import array
from pathlib import Path

from blake3 import blake3

from migrator.errors import FormatError
from migrator.system.files import open_regular

# Files are collected and hashed together; a call for each costs more than the hash.
_BATCH = 512

# Bytes of a compressed record: that of some ten million files. A sparse file has any size.
_MAX_RECORD = 1 << 30

# Times before 1970 are negative.
_MASK = (1 << 64) - 1


class Fingerprint:
    """Collects what a layer's digest depends on, in the order of its tar."""

    def __init__(self) -> None:
        self._blake = blake3()
        self._names: list[bytes] = []
        self._numbers = array("Q")

    def file(self, name: bytes, status: os.stat_result) -> None:
        """A file whose content is part of the tar."""
        self._names.append(name)
        self._numbers.extend((status.st_size, status.st_ino, status.st_mtime_ns & _MASK))
        if len(self._names) >= _BATCH:
            self._flush()

    def data(self, data: bytes) -> None:
        """Raw bytes of the tar."""
        self._flush()
        self._blake.update(data)

    def record(self, path: Path) -> None:
        """The tar-split record, by the bytes of its file. Raises OSError or FormatError."""
        self._flush()
        self._blake.update(_digest(path))

    def hexdigest(self) -> str:
        """64 hex digits."""
        self._flush()
        return self._blake.hexdigest()

    def _flush(self) -> None:
        if self._names:
            # No name is empty or has a zero byte in it, so this can be said in one way only.
            self._blake.update(b"%b\0\0" % b"\0".join(self._names))
            self._blake.update(self._numbers.tobytes())
            self._names.clear()
            self._numbers = array("Q")


def with_unusable_record(fingerprint: str, record: Path | None) -> str:
    """The fingerprint of a diff that was made anew although the layer has a record.

    Another record may be of use, and is tried. A record that cannot be read
    counts as an empty one.
    """
    if record is None:
        return fingerprint
    try:
        digest = _digest(record)
    except (OSError, FormatError):
        digest = b""
    return blake3(fingerprint.encode() + digest).hexdigest()


def _digest(path: Path) -> bytes:
    hasher = blake3()
    with open(open_regular(path), "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > _MAX_RECORD:
            raise FormatError(f"has more than {_MAX_RECORD} bytes", subject=str(path))
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.digest()
