"""Stores of very many things: what is done for each must not grow with their number."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.many import Size, build, write_links
from bench.scale import COMMANDS, Cost, write_scale
from migrator.commands.migrate import migrate
from migrator.commands.rollback import rollback
from migrator.conversion.space import TreeSpace
from migrator.gojson import scan
from migrator.legacy.linkgraph import read_links
from migrator.migration.space import Need
from migrator.system import disk
from migrator.tree.overlaydir import Transfer
from tests.command import snapshot


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each operation that changes something was begun."""
    counter: Counter[str] = Counter()
    monkeypatch.setattr(disk, "hook", lambda name, path: counter.update([name]))
    monkeypatch.setattr(disk, "syncfs_tells_errors", lambda path: True)
    yield counter


def test_containers_do_not_wait_for_the_disk_one_by_one(
    tmp_path: Path, operations: Counter[str]
) -> None:
    waits = []
    for containers in (70, 140):
        root = tmp_path / str(containers)
        build(Size(2, containers), root)
        before = snapshot(root)
        operations.clear()
        assert migrate(root, workers=0).containers == containers
        published = operations["fsync"] + operations["syncfs"]
        rollback(root)
        assert snapshot(root) == before
        waits.append((published, operations["fsync"] + operations["syncfs"]))
        shutil.rmtree(root)
    assert waits[0] == waits[1]


def test_room_for_what_is_left_is_not_summed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter: Counter[int] = Counter()
    add = Need.__add__

    def counted(self: Need, other: Need) -> Need:
        counter[size] += 1
        return add(self, other)

    monkeypatch.setattr(Need, "__add__", counted)
    for size in (100, 200):
        tasks: Any = [
            SimpleNamespace(name=str(n), transfer=Transfer.COPY, size=1, entries=1, known=None)
            for n in range(size)
        ]
        space = TreeSpace(tmp_path, tasks)
        for task in tasks:
            space.check()
            space.built(task.name)
        assert space.need == Need(0, 0)
    assert counter[200] <= 2 * counter[100]


def test_links_of_a_hundred_thousand_containers(tmp_path: Path) -> None:
    path = tmp_path / "linkgraph.db"
    write_links(path, [f"{number:064x}" for number in range(100_000)])
    links, problems = read_links(path)
    assert not problems
    assert len(links) == 25_000


@pytest.mark.parametrize(
    "raw",
    [b' {"a": [1, "\\u00e9", {"b": null}], "c": -1.5e3}\n', b'"x"', b"0", b"[]\t", b"tru", b"{,}"],
)
def test_a_quick_look_at_json_finds_the_same(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def spans() -> object:
        try:
            return scan.check(raw)
        except scan.GoJSONError as error:
            return str(error)

    quick = spans()
    monkeypatch.setattr(scan, "_SMALL", -1)
    assert spans() == quick


def test_growth_is_shown(tmp_path: Path) -> None:
    sizes = {Size(1, n): dict.fromkeys(COMMANDS, Cost(n, n, n << 20)) for n in (1, 2)}
    write_scale(tmp_path, sizes)
    assert "| rollback | 1.0 | 2.0 (x 2.00) |" in (tmp_path / "scale.md").read_text()
