"""Reading repositories-<driver>: names as Docker 1.10 takes, changes and refuses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import FormatError
from migrator.legacy.repositories import Reference, normalise, read_repositories
from tests.stores.real import ALL

ID = "ab" * 32
DIGEST = "sha256:" + "f" * 64


def write(directory: Path, repositories: object) -> Path:
    path = directory / "repositories-aufs"
    path.write_text(json.dumps({"Repositories": repositories}))
    return path


@pytest.mark.parametrize("name", ALL)
def test_real_stores(
    store: Callable[[str], Path], golden: Callable[[str], dict[str, Any]], name: str
):
    (path,) = store(name).glob("repositories-*")
    expected = golden(name)
    references, problems = read_repositories(path)
    found: dict[str, dict[str, str]] = {}
    for reference in references:
        if image_id := expected["id_map"].get(reference.v1_id):
            found.setdefault(reference.name, {}).setdefault(reference.key, image_id)
    assert found == expected["repositories"]["Repositories"]
    # What Docker left out of the odd store: 6 names, and 5 keys of `six`.
    assert len(problems) == (11 if name.endswith("odd") else 0)
    assert all(problem.fatal for problem in problems)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("one", "one"),
        ("library/one", "one"),
        ("docker.io/one", "one"),
        ("docker.io/library/one", "one"),
        ("index.docker.io/team/one", "team/one"),
        ("docker.io/docker.io/one", "docker.io/one"),
        ("library/library/one", "library/one"),
        ("localhost/one", "localhost/one"),
        ("Host.Example:5000/library/one", "Host.Example:5000/library/one"),
        ("a--b/c__d.e_f", "a--b/c__d.e_f"),
        ("n" * 255, "n" * 255),
    ],
)
def test_names_are_normalised(old: str, new: str):
    assert normalise(old) == new


@pytest.mark.parametrize(
    "name",
    [
        "",
        "docker.io/",
        "Upper",
        "Upper/name",
        "host.example/Upper",
        "ÄÖ",
        "one\n",
        "-x",
        "a..b",
        "a___b",
        "a/",
        "a//b",
        "/a",
        "host:port/a",
        "sha256",
        "library/sha256",
        ID,
        f"library/{ID}",
        "n" * 256,
        "a" * 250 + "!",
        "../../etc",
    ],
)
def test_refused_names(name: str):
    with pytest.raises(FormatError):
        normalise(name)


def test_keys_and_order(tmp_path: Path):
    repositories = {
        "two": {"latest": ID},
        "library/one": {DIGEST: ID, "1": "any"},
        "docker.io/one": {"1": ID},
        "none": {},
        "null": None,
    }
    references, problems = read_repositories(write(tmp_path, repositories))
    assert references == [
        Reference("one", "one:1", ID, "docker.io/one:1"),
        Reference("one", "one:1", "any", "library/one:1"),
        Reference("one", f"one@{DIGEST}", ID, f"library/one@{DIGEST}"),
        Reference("two", "two:latest", ID, "two:latest"),
    ]
    assert not problems


@pytest.mark.parametrize("tag", ["", ".x", "-x", "a:b", "t" * 129, "md5:" + "d" * 32, "ä", "x\n"])
def test_refused_tags(tmp_path: Path, tag: str):
    references, (problem,) = read_repositories(write(tmp_path, {"one": {tag: ID, "1": ID}}))
    assert [reference.key for reference in references] == ["one:1"]
    assert problem.fatal
    assert "tag" in problem.reason


def test_control_characters_are_shown_escaped(tmp_path: Path):
    _, (problem,) = read_repositories(write(tmp_path, {"a\x1b[2J": {"x\r\n": ID}}))
    assert problem.name == r"a\x1b[2J:x\r\n"


def test_missing_file(tmp_path: Path):
    assert read_repositories(tmp_path / "repositories-aufs") == ([], [])


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"Repositories": {"a": {"b": 1}}}', b"{" * 50000]
)
def test_unreadable_file_is_one_problem(tmp_path: Path, content: bytes):
    path = tmp_path / "repositories-aufs"
    path.write_bytes(content)
    references, (problem,) = read_repositories(path)
    assert (references, problem.name, problem.fatal) == ([], path.name, True)


def test_what_follows_the_first_value_is_ignored(tmp_path: Path):
    path = write(tmp_path, {"one": {"1": ID}})
    path.write_bytes(path.read_bytes() + b"} rest")
    assert len(read_repositories(path)[0]) == 1


@given(
    st.dictionaries(st.text(), st.dictionaries(st.text(), st.text())).map(
        lambda value: json.dumps({"Repositories": value}).encode()
    )
    | st.binary()
)
def test_anything_is_references_or_problems(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
):
    path = tmp_path_factory.getbasetemp() / "repositories-any"
    path.write_bytes(content)
    references, problems = read_repositories(path)
    assert all(reference.key.isprintable() for reference in references)
    assert all(problem.name.isprintable() for problem in problems)
