"""The manifest: every directory, file and tree that a migration added or replaced.

JSON in `.migrator/manifest.json`. The document's last key is the BLAKE3 of
what stands before it, so that damage to the manifest itself shows.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from migrator.errors import FormatError
from migrator.state.soundness import MAX_MANIFEST
from migrator.system import disk
from migrator.system.files import open_regular, refusal
from migrator.text import shown

SCHEMA = 3
# The first had no trees, the second nothing about Docker.
_READABLE = (1, 2, SCHEMA)


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
class Tree:
    """A directory with all that is in it, or a symbolic link, by its path in the data root.

    `fingerprint` is what `migrator.tree.fingerprint` says of it: no
    content is in it, so that looking after millions of files costs seconds.
    """

    path: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`directories` are those created, parents first; `listing` is the data root's before.

    `joined` has the names that were before in every other directory that was
    there and got something new, by its path. `bookkeeping` is what Docker's own
    files were at the end of the migration; `used` says what showed by then that
    Docker had used the data root since the migration before this one.
    """

    driver: str
    files: list[Entry] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    listing: list[str] = field(default_factory=list)
    joined: dict[str, list[str]] = field(default_factory=dict)
    trees: list[Tree] = field(default_factory=list)
    bookkeeping: list[Entry] = field(default_factory=list)
    used: str | None = None

    @property
    def things(self) -> list[Tree | Entry]:
        """All trees and files, in the order in which they are published."""
        return [*self.trees, *self.files]

    def save(self, path: Path) -> None:
        """Write and flush it."""
        # Not orjson: names need not be UTF-8. Not `asdict` and no indentation: with both it
        # would take ten times as long, most of the time that very many containers take.
        body = json.dumps({"schema": SCHEMA, **_values(self)}, default=_values)
        disk.write_atomically(path, _sealed(body.encode()[:-1] + b"\n}"))

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read it back. Raises FormatError when it is damaged or of another version."""
        data = _read(path)
        end = data.rfind(_SEAL)
        if end < 0 or data[end:] != _seal(memoryview(data)[:end]):
            raise FormatError("the manifest is damaged", subject=str(path))
        try:
            values: dict[str, Any] = json.loads(data)
            del data, values["seal"]
            if values.pop("schema") not in _READABLE:
                raise FormatError("the manifest is of another version", subject=str(path))
            values["files"] = [Entry(**entry) for entry in values["files"]]
            values["trees"] = [Tree(**tree) for tree in values.get("trees", ())]
            values["bookkeeping"] = [Entry(**entry) for entry in values.get("bookkeeping", ())]
            manifest = cls(**values)
            manifest._check()
            return manifest
        except (
            KeyError,
            TypeError,
            AttributeError,
            ValueError,
            RecursionError,
            MemoryError,
        ) as error:
            raise FormatError(f"not a manifest ({error})", subject=str(path)) from None

    def _check(self) -> None:
        """Raise TypeError or ValueError unless all is what `save` writes.

        Whoever made a data root may have made its manifest, too: what it names
        lies in the data root.
        """
        entries = [*self.files, *self.bookkeeping]
        names = [*self.listing, *(name for names in self.joined.values() for name in names)]
        paths = [*self.directories, *self.joined, *(tree.path for tree in self.trees)]
        paths += [entry.path for entry in entries]
        digests = [entry.blake3 for entry in entries]
        digests += [tree.fingerprint for tree in self.trees]
        digests += [entry.replaced for entry in entries if entry.replaced is not None]
        digests += [] if self.used is None else [self.used]
        if not all(type(text) is str for text in (self.driver, *names, *paths, *digests)):
            raise TypeError("a name that is no text")
        numbers = [n for each in entries for n in (each.mode, each.inode, each.mtime_ns)]
        if not all(type(number) is int for number in numbers):
            raise TypeError("a number that is none")
        for path in paths:
            if "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
                raise ValueError(f"{shown(path)!r} is no path in a data root")


_SEAL = b',\n  "seal": "'
_END = len(_SEAL) + 2 * blake3.digest_size + len(b'"\n}')


def _read(path: Path) -> bytes:
    """The whole document, unless it does not even end in a seal."""
    try:
        with open(open_regular(path), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size <= MAX_MANIFEST:
                file.seek(max(size - _END, 0))
                if file.read(len(_SEAL)) == _SEAL:
                    file.seek(0)
                    return file.read()
    except OSError as error:
        raise refusal(error, path) from None
    raise FormatError("the manifest is damaged", subject=str(path))


def _sealed(body: bytes) -> bytes:
    end = len(body) - len(b"\n}")
    return b"".join((memoryview(body)[:end], _seal(memoryview(body)[:end])))


def _seal(members: memoryview) -> bytes:
    """What follows the other members: the last one, and the end of the document."""
    digest = blake3(members).update(b"\n}").hexdigest()
    return _SEAL + digest.encode() + b'"\n}'


def _values(record: Any) -> dict[str, Any]:
    """The fields of a dataclass with slots, in their order."""
    return {name: getattr(record, name) for name in record.__slots__}


def file_digest(path: Path) -> str:
    """BLAKE3 hex digest of a regular file's content. Raises StoreError or FormatError."""
    hasher = blake3()
    with disk.operation("read", path), open(open_regular(path), "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()
