"""Lines of summaries: one is one, two are two, and a line for every layer for those who ask."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from legacy_fixtures.build import Built, Container, Store, build, line
from migrator import cli
from migrator.commands import migrate as migration
from tests.scratch import scratch

pytestmark = pytest.mark.root

PLURAL_OF_ONE = re.compile(r"\b1 (?!is\b)[a-z]+s\b")


@pytest.fixture
def single() -> Iterator[Built]:
    """One of everything."""
    with scratch() as directory:
        store = Store(layers=line(1), tags={"app:1": 0}, containers=(Container("web"),))
        yield build(store, directory / "root")


@pytest.fixture
def several() -> Iterator[Built]:
    with scratch() as directory:
        yield build(Store(layers=line(3), tags={"b:1": 2, "a:2": 2}), directory / "root")


def test_no_plural_of_one(single: Built, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["-g", str(single.root), "--workers", "1", "--progress", "plain"]
    for arguments in (
        ["plan"],
        ["plan", "-v", "--target-driver", "overlay2"],
        ["checksums", "-v"],
        ["checksums", "--undo"],
        ["export", "-v", "-o", str(single.root.parent / "out"), "--compression", "none"],
        ["migrate", "-v"],
        ["migrate", "-v", "--target-driver", "overlay2"],
        ["verify"],
    ):
        assert cli.run([arguments[0], *where, *arguments[1:]]) == 0
        said = capsys.readouterr()
        assert "1 layer" in said.out or "layers      1" in said.out
        assert not PLURAL_OF_ONE.findall(said.out + said.err), said


def test_layers_that_are_not_compressed(single: Built, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["-g", str(single.root), "--progress", "none"]
    for way, said in (("none", ", not compressed\n"), ("gzip", ", with gzip ")):
        output = str(single.root.parent / way)
        assert cli.run(["export", *where, "-o", output, "--compression", way]) == 0
        assert said in capsys.readouterr().out


def test_plan_tells_every_layer(several: Built, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["-g", str(several.root), "--progress", "none"]
    assert cli.run(["plan", *where]) == 0
    brief = capsys.readouterr().out
    assert cli.run(["plan", *where, "-v"]) == 0
    told = [text for text in capsys.readouterr().out.splitlines() if text not in brief]
    hosts = [text for text in told if text.startswith("  elsewhere ")]
    assert len(hosts) == 1
    assert re.search(r"t2\.micro \d+\.\d s", hosts[0])
    told.remove(hosts[0])
    assert sorted(text.split()[1] for text in told) == sorted(v1[:12] for v1 in several.v1_ids)
    assert all(re.fullmatch(r"  hash [0-9a-f]{12} \d+ bytes? with(out)? record.*", t) for t in told)
    named = [text for text in told if "record " in text]
    assert len(named) == 1
    assert several.v1_ids[-1][:12] in named[0]
    assert named[0].endswith(" record a:2 b:1")


@pytest.mark.parametrize("migrated", [False, True])
def test_plan_tells_every_layer_to_build(
    migrated: bool, several: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    if migrated:
        migration.migrate(several.root, workers=0)
    ids = several.chain_ids if migrated else several.v1_ids
    where = ["-g", str(several.root), "--target-driver", "overlay2"]
    assert cli.run(["plan", *where, "-v"]) == 0
    told = [text.split() for text in capsys.readouterr().out.splitlines()]
    built = sorted(words[1] for words in told if words[0] == "build")
    assert built == sorted(each.removeprefix("sha256:")[:12] for each in ids)
    assert len([words for words in told if words[0] == "hash"]) == (0 if migrated else 3)
