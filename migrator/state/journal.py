"""The journal: layers that are hashed already, so that an interrupted run goes on.

SQLite in `.migrator/journal.db`, each commit on the disk before it counts. A
layer is taken from the journal only if its row is as it was written, which the
row's own BLAKE3 tells, and if the fingerprint of what it was computed from is
still the same; see `migrator.layer.fingerprint`.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3

from migrator.errors import StoreError
from migrator.layer.digest import HashedLayer, LayerDigest, Method
from migrator.layer.identity import is_sha256
from migrator.legacy.linkgraph import SUPER_JOURNAL
from migrator.system import disk
from migrator.system.files import open_regular

# A commit waits for the disk; layers without content would wait on nothing else.
_COMMIT_EVERY = 0.5

# As SQLite keeps its text, by which another layout of the table is recognised.
_TABLE = """CREATE TABLE layer (
    v1_id TEXT PRIMARY KEY,
    diff_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    tar_bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    method TEXT NOT NULL,
    fault TEXT,
    seconds REAL NOT NULL,
    seal TEXT NOT NULL
) WITHOUT ROWID"""
_INSERT = "INSERT OR REPLACE INTO layer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# Bumped when a digest could come out otherwise than before; older journals are dropped.
_VERSION = 1

# A row has some hundred bytes; pages that are shared could make a small file's endless.
_MAX_VALUE = 64 << 10

# What SQLite says when it is the file's content that is wrong, or not of our making.
_DAMAGE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_TOOBIG,
)

# In a database's header (sqlite.org/fileformat2.html): kept with a rollback journal, as
# ours is, and not with a write-ahead log.
_MODE = slice(18, 20)
_ROLLBACK = b"\1\1"


class Journal:
    """Hashed layers by v1 ID. Raises StoreError when the file cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._layers: dict[str, HashedLayer] = {}
        self._committed = time.monotonic()
        if _misleads(path):
            self._drop()
        with self._errors():
            self._db = sqlite3.connect(path)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            self._commit()
        except StoreError:
            # What already went wrong is the better thing to tell.
            if kind is None:
                raise
        finally:
            self._db.close()

    def layers(self) -> dict[str, HashedLayer]:
        """All that was recorded before and is undamaged, each marked as kept."""
        return self._layers

    def add(self, layer: HashedLayer) -> None:
        """Record a layer; it is on the disk within half a second, or when the journal is closed."""
        digest = layer.digest
        row = (
            layer.v1_id,
            digest.diff_id,
            digest.size,
            digest.tar_bytes,
            digest.files,
            digest.entries,
            digest.fingerprint,
            str(layer.method),
            layer.fault,
            layer.seconds,
        )
        with self._errors():
            self._db.execute(_INSERT, (*row, _seal(row)))
        if time.monotonic() - self._committed >= _COMMIT_EVERY:
            self._commit()
            self._committed = time.monotonic()

    def _commit(self) -> None:
        with self._errors(), disk.operation("commit", self._path):
            self._db.commit()

    def _open(self) -> None:
        try:
            if self._read():
                return
        except sqlite3.DatabaseError as error:
            if _code(error) not in _DAMAGE:
                raise
        except (MemoryError, UnicodeDecodeError):
            # SQLite quotes from a schema that it cannot read, and not all of it is UTF-8.
            pass
        self._db.close()
        self._drop()
        self._db = sqlite3.connect(self._path)
        self._db.execute("PRAGMA synchronous = FULL")
        # Without a commit: an empty table need not be waited for before there is work to do.
        self._db.execute("BEGIN")
        self._db.execute(_TABLE)
        self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _drop(self) -> None:
        """Remove the file and all that goes with it; only time is lost with what was in it."""
        for suffix in ("", "-journal", "-wal", "-shm"):
            disk.remove_file(_beside(self._path, suffix))

    def _read(self) -> bool:
        """Take in what is recorded; whether the file is sound, and of this version."""
        # Damage must come out as a row whose seal is wrong, not as an exception.
        self._db.text_factory = lambda value: value.decode("utf-8", "replace")
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        tables = self._db.execute("SELECT sql FROM sqlite_master LIMIT 2").fetchall()
        if (version, tables) != (_VERSION, [(_TABLE,)]):
            return False
        if self._db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            return False
        rows = self._db.execute("SELECT * FROM layer").fetchall()
        self._layers = {layer.v1_id: layer for row in rows if (layer := _layer(*row))}
        return True

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"the journal cannot be used ({error})",
                subject=str(self._path),
                hint="see that the disk is neither full nor failing, and run the command again",
            ) from None


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    extended: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return extended & 0xFF


def _seal(row: tuple[Any, ...]) -> str:
    return blake3(repr(row).encode()).hexdigest()


def _layer(*row: Any) -> HashedLayer | None:
    """The layer of a row; None for a damaged one, or one that we did not write."""
    *values, seal = row
    if _seal(tuple(values)) != seal:
        return None
    v1_id, *found, method, fault, seconds = values
    diff_id, *numbers, fingerprint = found
    if not (
        all(type(text) is str for text in (v1_id, diff_id, fingerprint))
        and is_sha256(diff_id)
        and all(type(number) is int and number >= 0 for number in numbers)
        and method in [*Method]
        and (fault is None or (type(fault) is str and fault.isprintable()))
        and type(seconds) is float
        and math.isfinite(seconds)
    ):
        return None
    return HashedLayer(v1_id, LayerDigest(*found), Method(method), fault, seconds, kept=True)


def _misleads(path: Path) -> bool:
    """Whether SQLite, before it reads a row, would do more than roll a commit of ours back.

    Opening a database with a write-ahead log makes files; a rollback journal that is one
    of several databases' has the file that it names removed.
    """
    return (
        _bytes(path, _MODE.stop)[_MODE] not in (b"", _ROLLBACK)
        or _bytes(_beside(path, "-journal"), -len(SUPER_JOURNAL)) == SUPER_JOURNAL
    )


def _bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, or the last if `count` is negative; none if it is missing."""
    with disk.operation("read", path):
        try:
            with open(open_regular(path), "rb") as file:
                if count < 0:
                    file.seek(max(file.seek(0, os.SEEK_END) + count, 0))
                return file.read(abs(count))
        except FileNotFoundError:
            return b""


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
