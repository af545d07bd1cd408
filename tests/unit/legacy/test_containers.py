"""Reading containers/: which belong to this store, and why the others do not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import Problem
from migrator.legacy.containers import LegacyContainer, read_containers
from tests.stores.real import ALL

ID = "ab" * 32
IMAGE = "cd" * 32


def add(directory: Path, name: str, **config: object) -> Path:
    container = directory / name
    container.mkdir(parents=True)
    (container / "config.json").write_text(json.dumps({"Image": IMAGE} | config))
    return container


def the_problem(directory: Path) -> Problem:
    containers, (problem,) = read_containers(directory, "aufs")
    assert not containers
    return problem


@pytest.mark.parametrize("name", ALL)
def test_real_stores(
    store: Callable[[str], Path], golden: Callable[[str], dict[str, Any]], name: str
):
    expected = golden(name)
    root = store(name)
    containers, problems = read_containers(root / "containers", expected["driver"].split("-")[0])
    migrated = {
        found.id: expected["id_map"][found.v1_id]
        for found in containers
        if found.v1_id in expected["id_map"]
    }
    assert migrated == {
        name: json.loads(config)["Image"]
        for name, config in expected["containers"].items()
        if config is not None
    }
    assert set(migrated) == set(expected["mounts"])
    for found in containers:
        assert found.hostconfig == (root / "containers" / found.id / "hostconfig.json").read_bytes()
    assert not problems


def test_what_is_read(tmp_path: Path):
    container = add(tmp_path, ID, Name="/web", Driver="aufs")
    (container / "hostconfig.json").write_bytes(b"{}")
    config = (container / "config.json").read_bytes()
    expected = LegacyContainer(ID, config, b"{}", IMAGE, "web", "aufs")
    assert read_containers(tmp_path, "aufs") == ([expected], [])
    assert expected.shown == f"{ID} (web)"


def test_without_driver_it_is_this_ones(tmp_path: Path):
    add(tmp_path, "a", Driver="")
    add(tmp_path, "b")
    containers, problems = read_containers(tmp_path, "btrfs")
    assert [(found.id, found.hostconfig) for found in containers] == [("a", None), ("b", None)]
    assert not problems


def test_container_of_another_driver(tmp_path: Path):
    add(tmp_path, ID, Driver="overlay", Name="/web")
    problem = the_problem(tmp_path)
    assert problem.fatal
    assert "web" in problem.name
    assert "overlay driver" in problem.reason


def test_empty_directory(tmp_path: Path):
    (tmp_path / ID).mkdir()
    problem = the_problem(tmp_path)
    assert (problem.fatal, problem.reason) == (True, "its directory is empty")


def test_container_of_a_newer_docker(tmp_path: Path):
    container = add(tmp_path, ID)
    (container / "config.json").rename(container / "config.v2.json")
    assert read_containers(tmp_path, "aufs") == ([], [])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b"", "config.json: "),
        (b"{", "config.json: "),
        (b'{"Image": ["x"]}', "config.json: "),
        (b'{"Image": "x", "Driver": 1}', "config.json: "),
        (b"{}", "names no image"),
        (b'{"Image": null}', "names no image"),
        (b'{"image": "x"}', "names no image"),
        (b"[" * 100_000, "nested deeper"),
    ],
)
def test_unreadable_config(tmp_path: Path, config: bytes, words: str):
    (add(tmp_path, ID) / "config.json").write_bytes(config)
    problem = the_problem(tmp_path)
    assert (problem.name, problem.fatal) == (ID, True)
    assert words in problem.reason


def test_what_is_no_container(tmp_path: Path):
    outside = tmp_path / "outside"
    containers = tmp_path / "containers"
    containers.mkdir()
    (containers / "a").symlink_to(add(outside, ID))
    (containers / "b").write_bytes(b"")
    (containers / "c").mkdir()
    os.mkfifo(containers / "c" / "config.json")
    (containers / "d").mkdir()
    (containers / "d" / "hostconfig.json").write_bytes(b"{}")
    (add(containers, "e") / "hostconfig.json").symlink_to("/etc/passwd")
    add(containers, "f\n")
    os.truncate(add(containers, "g") / "config.json", 1 << 40)
    found, problems = read_containers(containers, "aufs")
    assert not found
    assert all(problem.fatal for problem in problems)
    expected = {
        "a": "not a directory",
        "b": "not a directory",
        "c": "not a regular file",
        "d": "has no config.json",
        "e": "not a regular file",
        r"f\n": "is no text",
        "g": "more than",
    }
    assert [problem.name for problem in problems] == list(expected)
    for problem, words in zip(problems, expected.values(), strict=True):
        assert words in problem.reason


def test_missing_directory(tmp_path: Path):
    assert read_containers(tmp_path / "containers", "aufs") == ([], [])


@given(
    st.fixed_dictionaries(
        {"Image": st.text() | st.none()},
        optional={"Name": st.text() | st.integers(), "Driver": st.text() | st.floats()},
    ).map(lambda config: json.dumps(config).encode())
    | st.binary()
)
def test_anything_is_a_container_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, config: bytes
):
    directory = tmp_path_factory.getbasetemp() / "any-containers"
    (directory / ID).mkdir(parents=True, exist_ok=True)
    (directory / ID / "config.json").write_bytes(config)
    containers, problems = read_containers(directory, "aufs")
    assert len(containers) + len(problems) == 1
    assert all(found.shown.isprintable() for found in containers)
    assert all(found.name.isprintable() and found.reason.isprintable() for found in problems)
