"""The journal: layers that are hashed already, so that an interrupted run goes on.

SQLite in `.migrator/journal.db`, each commit on the disk before it counts. A
layer is taken from the journal only if the fingerprint of what it was computed
from is still the same; see `migrator.layer.fingerprint`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from migrator.errors import StoreError
from migrator.layer.hashing import LayerDigest
from migrator.layer.task import HashedLayer, Method

# A commit waits for the disk; layers without content would wait on nothing else.
_COMMIT_EVERY = 0.5

_TABLE = """
CREATE TABLE IF NOT EXISTS layer (
    v1_id TEXT PRIMARY KEY,
    diff_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    tar_bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    method TEXT NOT NULL,
    fault TEXT,
    seconds REAL NOT NULL
) WITHOUT ROWID
"""
_INSERT = "INSERT OR REPLACE INTO layer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# Bumped when a digest could come out otherwise than before; older journals are dropped.
_VERSION = 1


class Journal:
    """Hashed layers by v1 ID. Raises StoreError when the file cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._committed = time.monotonic()
        try:
            self._connect()
        except sqlite3.DatabaseError:
            # Only time is lost with it, so a damaged one is begun anew.
            for suffix in ("", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            with self._errors():
                self._connect()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._errors():
            self._db.commit()
            self._db.close()

    def layers(self) -> dict[str, HashedLayer]:
        """All that is recorded, each marked as kept."""
        with self._errors():
            rows = self._db.execute("SELECT * FROM layer").fetchall()
        found = {}
        for v1_id, *digest, method, fault, seconds in rows:
            found[v1_id] = HashedLayer(
                v1_id, LayerDigest(*digest), Method(method), fault, seconds, kept=True
            )
        return found

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
            self._db.execute(_INSERT, row)
            if time.monotonic() - self._committed >= _COMMIT_EVERY:
                self._db.commit()
                self._committed = time.monotonic()

    def _connect(self) -> None:
        self._db = sqlite3.connect(self._path)
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            self._db.execute("DROP TABLE IF EXISTS layer")
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        self._db.execute(_TABLE)
        self._db.commit()

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
