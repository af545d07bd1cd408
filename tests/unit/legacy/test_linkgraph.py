"""Reading linkgraph.db: the links of real stores, and databases that are none."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.legacy import linkgraph
from migrator.legacy.linkgraph import Link, read_links
from tests.stores.real import ALL

WEB, DB = "ab" * 32, "cd" * 32


def make(path: Path, *statements: str) -> Path:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


EDGES = (
    "CREATE TABLE edge (entity_id text NOT NULL, parent_id text NULL, name text NOT NULL)",
    "INSERT INTO edge VALUES ('0', NULL, '/')",
    f"INSERT INTO edge VALUES ('{WEB}', '0', 'web')",
    f"INSERT INTO edge VALUES ('{DB}', '{WEB}', 'db')",
    f"INSERT INTO edge VALUES ('{DB}', '{WEB}', 'cache')",
)
LINKS = {WEB: [Link(DB, "cache"), Link(DB, "db")]}


@pytest.mark.parametrize("name", ALL)
def test_real_stores(
    store: Callable[[str], Path], golden: Callable[[str], dict[str, Any]], name: str
):
    expected = golden(name)
    links, problems = read_links(store(name) / "linkgraph.db")
    assert not problems
    for container, found in expected["links"].items():
        config = expected["containers"][container]
        if config is not None:
            names = [
                f"{json.loads(expected['containers'][child])['Name']}:{alias}"
                for child, alias in links.get(container, ())
            ]
            assert sorted(names) == found


def test_some_real_store_has_links(golden: Callable[[str], dict[str, Any]]):
    assert any(golden("docker-1.9.1-overlay")["links"].values())


def test_names_are_no_links(tmp_path: Path):
    assert read_links(make(tmp_path / "linkgraph.db", *EDGES)) == (LINKS, [])


@pytest.mark.parametrize("name", ["none.db", "empty.db", "other.db"])
def test_no_links(tmp_path: Path, name: str):
    (tmp_path / "empty.db").write_bytes(b"")
    make(tmp_path / "other.db", "CREATE TABLE entity (id text)")
    assert read_links(tmp_path / name) == ({}, [])


def interrupted(directory: Path) -> Path:
    """A database in the middle of a transaction that removes all edges, with its journal."""
    live = make(directory / "live.db", *EDGES)
    connection = sqlite3.connect(live)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("DELETE FROM edge")
    connection.execute("CREATE TABLE filler (x)")
    connection.executemany("INSERT INTO filler VALUES (?)", [(b"x" * 4000,)] * 500)
    for suffix in ("", "-journal"):
        shutil.copyfile(f"{live}{suffix}", directory / f"linkgraph.db{suffix}")
    connection.rollback()
    connection.close()
    return directory / "linkgraph.db"


def test_unfinished_transaction_is_rolled_back_on_a_copy(tmp_path: Path):
    path = interrupted(tmp_path)
    before = path.read_bytes(), Path(f"{path}-journal").read_bytes()
    assert read_links(path) == (LINKS, [])
    assert (path.read_bytes(), Path(f"{path}-journal").read_bytes()) == before


def test_journal_that_names_another_file(tmp_path: Path):
    path = interrupted(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"x")
    name = bytes(victim)
    with open(f"{path}-journal", "ab") as journal:
        journal.write(b"\0\0\0\1" + name + len(name).to_bytes(4) + sum(name).to_bytes(4))
        journal.write(bytes.fromhex("d9d505f920a163d7"))
    links, (problem,) = read_links(path)
    assert (links, problem.fatal, victim.exists()) == ({}, True, True)
    assert "another file" in problem.reason


def test_endless_view_is_not_looked_at(tmp_path: Path):
    view = (
        "CREATE VIEW edge AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT i AS entity_id, i AS parent_id, i AS name FROM n"
    )
    assert read_links(make(tmp_path / "linkgraph.db", view)) == ({}, [])


def test_too_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(linkgraph, "_STEPS_A_CALL", 10)
    monkeypatch.setattr(linkgraph, "_MAX_CALLS", 1)
    links, (problem,) = read_links(make(tmp_path / "linkgraph.db", *EDGES))
    assert not links
    assert "interrupted" in problem.reason


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b"no database" * 100), "not a database"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4096]), "malformed"),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "not a regular file"),
        (lambda path: (path.unlink(), make(path, "CREATE TABLE edge (x)")), "no such column"),
        (lambda path: path.open("r+b").truncate(1 << 40), "more than"),
    ],
)
def test_unreadable_database_is_one_problem(
    tmp_path: Path, damage: Callable[[Path], object], words: str
):
    path = make(tmp_path / "linkgraph.db", *EDGES)
    damage(path)
    links, (problem,) = read_links(path)
    assert (links, problem.name, problem.fatal) == ({}, "linkgraph.db", True)
    assert words in problem.reason


def test_values_of_other_types_are_no_links(tmp_path: Path):
    odd = ["x'00', x'00', x'00'", f"'{DB}', '{WEB}', x'00'", f"x'00', '{WEB}', 'a'"]
    statements = [f"INSERT INTO edge VALUES ({values})" for values in odd]
    assert read_links(make(tmp_path / "linkgraph.db", *EDGES, *statements)) == (LINKS, [])


@given(st.data())
def test_any_damage_is_links_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    directory = tmp_path_factory.getbasetemp() / "damaged"
    directory.mkdir(exist_ok=True)
    path = directory / "linkgraph.db"
    path.unlink(missing_ok=True)
    content = bytearray(make(path, *EDGES).read_bytes())
    positions = st.integers(0, len(content) - 1) | st.integers(0, 120)
    for position in data.draw(st.lists(positions, min_size=1, max_size=20)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    links, problems = read_links(path)
    assert not (links and problems)
