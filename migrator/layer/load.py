"""What a layer is to whoever reads it: bytes and files, known or estimated."""

from __future__ import annotations

from dataclasses import dataclass

# Bytes of a compressed record for each file with content, about.
_RECORD_A_FILE = 110
# Bytes of a file, when there is no record to tell.
_FILE_SIZE = 32_000


@dataclass(frozen=True, slots=True)
class Load:
    """What a layer is to a worker: bytes to hash, files to read, with or without a record."""

    size: int
    files: int
    recomputed: bool = False

    @classmethod
    def estimated(cls, size: int, record_size: int | None) -> Load:
        """A layer of `size` bytes that nobody has looked into; `record_size` is compressed."""
        if record_size is None:
            return cls(size, size // _FILE_SIZE, True)
        return cls(size, min(record_size // _RECORD_A_FILE, size))
