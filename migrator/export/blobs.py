"""Writing blobs: files named by the SHA-256 of what is in them."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

from migrator.export.compression import Compression
from migrator.layer.identity import SHA256, hex_part, sha256_digest
from migrator.system import disk


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob's digest, `sha256:...`, and its size in bytes."""

    digest: str
    size: int

    def path(self, directory: Path) -> Path:
        """Its file in a directory of blobs."""
        return directory / hex_part(self.digest)


class BlobWriter:
    """A compressed stream on its way to a file in `directory`.

    A context manager: `finish` gives the file its name; without it, nothing is
    left. `name` is what the file is called until then. Raises StoreError.
    """

    def __init__(self, directory: Path, name: str, compression: Compression) -> None:
        self._directory = directory
        self._aside = directory / f".{name}"
        self._compressor = compression.compressor()
        self._sha = hashlib.sha256()
        self._size = 0
        # A worker that was killed over the same task may have left one.
        disk.remove_file(self._aside)
        with disk.operation("create", self._aside):
            self._file = self._aside.open("xb", buffering=0)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.close()
            self._aside.unlink(missing_ok=True)

    def write(self, data: memoryview) -> None:
        """Take more of the stream."""
        if self._compressor is None:
            self._put(data)
        elif packed := self._compressor.compress(data):
            self._put(packed)

    def finish(self) -> Blob:
        """The stream is complete: name the file."""
        if self._compressor is not None:
            self._put(self._compressor.flush())
        with disk.operation("close", self._aside):
            self._file.close()
        blob = Blob(SHA256 + self._sha.hexdigest(), self._size)
        disk.replace(self._aside, blob.path(self._directory))
        return blob

    def _put(self, data: bytes | memoryview) -> None:
        self._sha.update(data)
        self._size += len(data)
        with disk.operation("write", self._aside):
            write_all(self._file, data)


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write to an unbuffered file, which may take less at a time. Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def write_blob(directory: Path, content: bytes) -> Blob:
    """Write a small blob, which may be there already. Raises StoreError."""
    blob = Blob(sha256_digest(content), len(content))
    write_file(blob.path(directory), content)
    return blob


def write_file(path: Path, content: bytes) -> None:
    """Write a file with the usual permissions. Raises StoreError."""
    with disk.operation("write", path):
        path.write_bytes(content)
