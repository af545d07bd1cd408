"""Our own journal and records, in a data root that somebody made to do harm with them."""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
from contextlib import closing
from pathlib import Path

import pytest
from blake3 import blake3

from migrator.state.journal import Journal
from tests.stores.hostile import v1_id
from tests.stores.spoiled import (
    STATE,
    Kind,
    begun_in,
    codes,
    outside_of,
    run_all,
    spoil,
    to_device,
    to_endless,
    to_fifo,
    to_huge,
    to_link,
    to_lost_link,
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return outside_of(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return begun_in(tmp_path)


def hashed(root: Path, outside: Path) -> Path:
    """Have a layer hashed that has no record, so that one was made."""
    (root / "graph" / v1_id(1) / "tar-data.json.gz").unlink()
    assert run_all(root, outside, "checksums")["checksums"].startswith("0 ")
    (record,) = (root / STATE / "records").iterdir()
    return record


@pytest.mark.parametrize("kind", [to_link, to_endless, to_lost_link, to_fifo, to_device, to_huge])
@pytest.mark.parametrize("command", ["migrate", "migrate-overlay2", "checksums", "rollback"])
def test_a_record_that_is_none(command: str, kind: Kind, root: Path, outside: Path) -> None:
    spoil(hashed(root, outside), kind, outside)
    assert run_all(root, outside, command)[command][0] in codes(command)
    for path in root.rglob("tar-split.json.gz"):
        assert stat.S_ISREG(path.lstat().st_mode)


def hot_journal(database: Path, victim: Path) -> bytes:
    """A rollback journal of SQLite's that names another database's (sqlite.org/fileformat2)."""
    page = database.read_bytes()[:4096]
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">IIIII", 1, 0, database.stat().st_size // 4096, 512, 4096)
    checksum = sum(page[4096 - 200 : 0 : -200])
    record = struct.pack(">I", 1) + page + struct.pack(">I", checksum)
    name = os.fsencode(victim)
    end = struct.pack(">I", (1 << 30) // 4096 + 1) + name + struct.pack(">II", len(name), sum(name))
    return header.ljust(512, b"\0") + record + end + magic


@pytest.mark.parametrize("command", ["migrate", "migrate-overlay2", "checksums", "rollback"])
def test_a_journal_whose_journal_has_another_file_removed(
    command: str, root: Path, outside: Path
) -> None:
    journal = root / STATE / "journal.db"
    with Journal(journal):
        pass
    log = hot_journal(journal, outside / "file")
    (root / STATE / "journal.db-journal").write_bytes(log)
    assert run_all(root, outside, command)[command][0] in codes(command)


FORGED = {
    "diff_id": ["../../../../../outside/new", "sha256:../../../../../../outside/new", None, 1],
    "v1_id": [None, 7],
    "size": ["many", -1, None, 0.5],
    "tar_bytes": ["many", None],
    "fingerprint": [None, b"x"],
    "method": ["", "magic", None, b"\xff"],
    "fault": [7, "\x1b[31m"],
    "seconds": ["long", None, float("inf")],
}


@pytest.mark.parametrize("column", FORGED)
def test_a_journal_that_says_anything(column: str, root: Path, outside: Path) -> None:
    assert run_all(root, outside, "checksums")["checksums"].startswith("0 ")
    for value in FORGED[column]:
        forge(root / STATE / "journal.db", column, value)
        assert run_all(root, outside, "migrate")["migrate"].startswith("0 "), value
        (root / STATE / "phase").write_text("published")
        assert run_all(root, outside, "rollback")["rollback"].startswith("0 ")
        assert run_all(root, outside, "checksums")["checksums"].startswith("0 ")


def forge(journal: Path, column: str, value: object) -> None:
    """Change a value in every row, and seal the rows again."""
    with closing(sqlite3.connect(journal)) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) | {column: value} for row in database.execute("SELECT * FROM layer")]
        assert rows
        database.execute("DELETE FROM layer")
        for number, row in enumerate(rows):
            if row["v1_id"] is not None and column == "v1_id":
                row["v1_id"] = number
            *values, _ = row.values()
            seal = blake3(repr(tuple(values)).encode()).hexdigest()
            marks = ", ".join("?" * len(row))
            try:
                database.execute(f"INSERT INTO layer VALUES ({marks})", (*values, seal))
            except sqlite3.IntegrityError:
                continue
        database.commit()


def test_a_journal_whose_schema_is_endless(root: Path, outside: Path) -> None:
    with closing(sqlite3.connect(root / STATE / "journal.db")) as database:
        database.execute("PRAGMA user_version = 1")
        long = " " * 900_000
        for number in range(300):
            database.execute(f"CREATE TABLE t{number} (x{long})")
        database.commit()
    assert run_all(root, outside, "migrate")["migrate"].startswith("0 ")
