"""Reading graph/: which images are usable, why the others are not, and their order."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.legacy.graph import Graph, LegacyImage
from tests.stores.real import ALL


def v1_id(number: int) -> str:
    return f"{number:064x}"


def add(graph: Path, number: int, parent: int | None = None, /, **files: bytes) -> Path:
    directory = graph / v1_id(number)
    directory.mkdir(parents=True)
    config = {"id": v1_id(number)} | ({} if parent is None else {"parent": v1_id(parent)})
    for name, content in ({"json": json.dumps(config).encode()} | files).items():
        (directory / name).write_bytes(content)
    return directory


def reasons(graph: Graph, *, fatal: bool = True) -> dict[str, str]:
    found = [problem for problem in graph.problems if problem.fatal == fatal]
    assert len({problem.name for problem in found}) == len(found)
    return {problem.name: problem.reason for problem in found}


@pytest.mark.parametrize("name", ALL)
def test_real_stores(
    store: Callable[[str], Path], golden: Callable[[str], dict[str, Any]], name: str
):
    graph = Graph.read(store(name) / "graph")
    expected = golden(name)
    assert not graph.problems
    assert set(graph.images) == set(expected["id_map"])
    # A migrated image's parent is the last of its line, whatever the ID it got.
    for image in graph.images.values():
        diff_ids = json.loads(expected["images"][expected["id_map"][image.v1_id][7:]])["rootfs"]
        length, at = 0, image
        while at is not None:
            length, at = length + 1, graph.images[at.parent] if at.parent else None
        assert length == len(diff_ids["diff_ids"])
    order = graph.order()
    assert sorted(order) == sorted(graph.images)
    done: set[str | None] = {None}
    for image_id in order:
        assert graph.images[image_id].parent in done
        done.add(image_id)


def test_files_of_an_image(tmp_path: Path):
    directory = add(tmp_path, 1, layersize=b"42", checksum=b"sha256:x")
    (directory / "tar-data.json.gz").write_bytes(b"")
    expected = LegacyImage(
        v1_id(1),
        (directory / "json").read_bytes(),
        None,
        "sha256:x",
        42,
        directory / "tar-data.json.gz",
    )
    assert Graph.read(tmp_path).images == {v1_id(1): expected}


@pytest.mark.parametrize("size", [b"", b"-1", b"1\n", b"9" * 30, "²".encode()])
def test_unreadable_size_is_unknown(tmp_path: Path, size: bytes):
    add(tmp_path, 1, layersize=size)
    assert Graph.read(tmp_path).images[v1_id(1)].layersize is None


def test_parent_file_overrides(tmp_path: Path):
    for number in (1, 2):
        add(tmp_path, number)
    add(tmp_path, 3, 1, parent=v1_id(2).encode())
    add(tmp_path, 4, 1, parent=b"")
    add(tmp_path, 5, 1, parent=v1_id(2).encode() + b"\n")
    graph = Graph.read(tmp_path)
    assert graph.images[v1_id(3)].parent == v1_id(2)
    assert graph.images[v1_id(4)].parent == v1_id(1)
    assert "is no image ID" in reasons(graph)[v1_id(5)]


def test_other_names(tmp_path: Path):
    add(tmp_path, 1)
    for name in ("_tmp", ".hidden", "AB" * 32, "ev\x1b[31mil", "ab" * 33):
        (tmp_path / name).mkdir()
    graph = Graph.read(tmp_path)
    assert set(graph.images) == {v1_id(1)}
    assert set(reasons(graph, fatal=False)) == {"AB" * 32, r"ev\x1b[31mil", "ab" * 33}
    assert not reasons(graph)


def test_what_cannot_be_read(tmp_path: Path):
    (add(tmp_path, 1) / "json").unlink()
    add(tmp_path, 2, json=b'{"id":')
    (add(tmp_path, 3) / "json").unlink()
    os.mkfifo(tmp_path / v1_id(3) / "json")
    (add(tmp_path, 4) / "json").unlink()
    (tmp_path / v1_id(4) / "json").symlink_to("/etc/hostname")
    (tmp_path / v1_id(5)).write_bytes(b"")
    (tmp_path / v1_id(6)).symlink_to(add(tmp_path, 7))
    add(tmp_path, 8, json=b'{"parent": 5}')
    os.truncate(add(tmp_path, 9) / "json", 1 << 40)
    (add(tmp_path, 10) / "parent").mkdir()
    add(tmp_path, 11, json=b'{"parent": "../../etc"}')
    graph = Graph.read(tmp_path)
    found = reasons(graph)
    assert set(graph.images) == {v1_id(7)}
    expected = {
        1: "has no json",
        2: "json: ",
        3: "not a regular file",
        4: "not a regular file",
        5: "not a directory",
        6: "not a directory",
        8: "json: expected a string",
        9: "more than",
        10: "not a regular file",
        11: "'../../etc' is no image ID",
    }
    assert {*found} == {v1_id(number) for number in expected}
    for number, words in expected.items():
        assert words in found[v1_id(number)]


def test_broken_lines(tmp_path: Path):
    add(tmp_path, 1, 99)
    add(tmp_path, 2, 1)
    add(tmp_path, 10, json=b"")
    add(tmp_path, 11, 10)
    add(tmp_path, 12, 11)
    add(tmp_path, 20, 22)
    add(tmp_path, 21, 20)
    add(tmp_path, 22, 21)
    add(tmp_path, 23, 22)
    add(tmp_path, 24, 23)
    add(tmp_path, 30, 30)
    add(tmp_path, 40)
    graph = Graph.read(tmp_path)
    found = reasons(graph)
    assert set(graph.images) == {v1_id(40)}
    own = "is its own ancestor"
    assert {name: reason for name, reason in found.items() if name != v1_id(10)} == {
        v1_id(1): f"its parent {v1_id(99)} is not in graph/",
        v1_id(2): f"its ancestor {v1_id(99)} is not in graph/",
        v1_id(11): f"its parent {v1_id(10)} cannot be used",
        v1_id(12): f"its ancestor {v1_id(10)} cannot be used",
        **{v1_id(number): own for number in (20, 21, 22, 30)},
        v1_id(23): f"its parent {v1_id(22)} {own}",
        v1_id(24): f"its ancestor {v1_id(22)} {own}",
    }


def test_order_is_sorted_with_ancestors_first():
    parents = {1: 5, 5: 3, 3: None, 2: None, 4: 2}
    images = {
        v1_id(number): LegacyImage(
            v1_id(number), b"{}", None if parent is None else v1_id(parent), None, None, None
        )
        for number, parent in parents.items()
    }
    assert Graph(images, ()).order() == [v1_id(number) for number in (3, 5, 1, 2, 4)]


@pytest.mark.parametrize("end", [None, 1])
def test_long_line_comes_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: int):
    """Fifty thousand images in one line, met in random order; a circle if `end` is set."""
    numbers = list(range(1, 50_001))
    parents = dict(zip(numbers, [end and numbers[-1], *numbers], strict=False))
    random.Random(1).shuffle(numbers)
    images = {
        v1_id(number): LegacyImage(
            v1_id(number),
            b"",
            v1_id(parents[number]) if parents[number] else None,
            None,
            None,
            None,
        )
        for number in numbers
    }
    monkeypatch.setattr(
        "migrator.legacy.graph.list_directory", lambda _: [(name, True) for name in images]
    )
    monkeypatch.setattr("migrator.legacy.graph._read_image", lambda path: images[path.name])
    graph = Graph.read(tmp_path)
    assert len(graph.problems) == (len(numbers) if end else 0)
    assert graph.order() == ([] if end else sorted(images))


def test_missing_directory_holds_no_images(tmp_path: Path):
    assert not Graph.read(tmp_path / "graph").images
