"""The manifest: every directory and file that a migration added or replaced.

JSON in `.migrator/manifest.json`. The document's last key is the BLAKE3 of
what stands before it, so that damage to the manifest itself shows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from migrator import disk
from migrator.errors import FormatError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, by its path in the data root.

    `blake3` is the hex digest of its content, `inode` and `mtime_ns` are what
    they were when it was published. `replaced` is the BLAKE3 of the file that
    stood there before and is kept in `.migrator/saved/`; None when none did.
    """

    path: str
    blake3: str
    mode: int
    inode: int
    mtime_ns: int
    replaced: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """`directories` are those created, parents first; `listing` is the data root's before.

    `joined` has the names that were before in every other directory that was
    there and got something new, by its path.
    """

    driver: str
    files: list[Entry] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    listing: list[str] = field(default_factory=list)
    joined: dict[str, list[str]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write and flush it."""
        # Not orjson: names need not be UTF-8.
        body = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2)
        disk.write_atomically(path, _sealed(body.encode()))

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read it back. Raises FormatError when it is damaged or of another version."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FormatError(f"cannot be read ({error.strerror})", subject=str(path)) from None
        body, mark, _ = data.rpartition(_SEAL)
        body += b"\n}"
        if not mark or _sealed(body) != data:
            raise FormatError("the manifest is damaged", subject=str(path))
        try:
            values: dict[str, Any] = json.loads(body)
            if values.pop("schema") != SCHEMA:
                raise FormatError("the manifest is of another version", subject=str(path))
            values["files"] = [Entry(**entry) for entry in values["files"]]
            return cls(**values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FormatError(f"not a manifest ({error})", subject=str(path)) from None


_SEAL = b',\n  "seal": "'


def _sealed(body: bytes) -> bytes:
    return body[: -len(b"\n}")] + _SEAL + blake3(body).hexdigest().encode() + b'"\n}'


def file_digest(path: Path) -> str:
    """BLAKE3 hex digest of a file's content, read as a stream. Raises StoreError."""
    hasher = blake3()
    with disk.operation("read", path), open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()
