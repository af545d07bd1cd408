"""`verify` on roots that are as Docker made them: each passes, and any flipped byte is named."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from migrator.commands.verify import verify
from migrator.errors import DataRootError, DriverError, ExitCode
from migrator.layer.tarsplit import Record
from migrator.progress import Progress
from tests.stores.verify_roots import GoldenRoot, build

STORES = (
    "docker-1.9.1-overlay",
    "docker-1.9.1-overlay-odd",
    "docker-1.9.1-overlay-pulled",
    "docker-1.9.1-aufs",
    "docker-1.9.1-btrfs",
)

Build = Callable[[str], GoldenRoot]


@pytest.fixture
def golden_root(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> Build:
    return lambda name: build(store_copy(name), golden(name))


@contextmanager
def flipped(path: Path, position: int, bit: int) -> Iterator[None]:
    """One bit of a file changed in place; an empty file gets a byte."""
    before = path.read_bytes()
    after = bytearray(before or b"\0")
    after[position] ^= bit
    with open(path, "r+b") as file:
        file.write(after)
    yield
    with open(path, "r+b") as file:
        file.write(before)
        file.truncate()


def snapshot(root: Path) -> dict[str, tuple[int, int, int, int]]:
    paths = (Path(p, n) for p, ds, fs in os.walk(root) for n in (*ds, *fs))
    return {
        str(path): (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
        for path, s in ((path, path.lstat()) for path in paths)
    }


@pytest.mark.parametrize("name", STORES)
def test_what_docker_made_has_no_fault_and_is_not_touched(name: str, golden_root: Build) -> None:
    root = golden_root(name)
    before = snapshot(root.path)
    report = root.verify(deep=True)
    assert report.lines()[:-1] == []
    assert (report.driver, report.used, report.exit_code) == (root.driver, None, ExitCode.OK)
    assert report.layers == len(root.golden["layers"])
    assert report.images == len(root.golden["images"])
    assert report.containers == sum(c is not None for c in root.golden["containers"].values())
    assert report.references == sum(map(len, root.golden["repositories"]["Repositories"].values()))
    assert report.published == len(root.files)
    assert report.bytes_read > sum(int(layer["size"]) for layer in root.golden["layers"].values())
    assert snapshot(root.path) == before


@pytest.mark.parametrize("name", STORES)
def test_without_a_manifest_the_store_speaks_for_itself(name: str, golden_root: Build) -> None:
    root = golden_root(name)
    root.forget_manifest()
    report = root.verify(deep=True)
    assert report.findings == ()
    assert report.published == 0


@pytest.mark.parametrize("name", ["docker-1.9.1-overlay", "docker-1.9.1-overlay-odd"])
def test_a_flipped_byte_in_any_published_file_is_named(name: str, golden_root: Build) -> None:
    root = golden_root(name)
    choice = random.Random(name)
    for path, data in root.files.items():
        if path.startswith("containers/"):
            continue
        position = choice.randrange(len(data) or 1)
        with flipped(root.path / path, position, 1 << choice.randrange(7)):
            assert path in root.paths(quick=True), (path, position)
    assert root.verify().findings == ()


def test_a_flipped_byte_shows_without_a_manifest_too(golden_root: Build) -> None:
    root = golden_root("docker-1.9.1-overlay-odd")
    root.forget_manifest()
    choice = random.Random(1)
    for path, data in root.files.items():
        if path.startswith("containers/") or path.endswith(("repositories.json", "tags")):
            continue
        # Nothing vouches for the header of a gzip file, or for the name of a repository.
        first = 12 if path.endswith(".gz") else 0
        last = data.find(b'","Source') if b'","Source' in data else len(data)
        if path.endswith("images.json"):
            last = data.find(b":")
        position = choice.randrange(first, last)
        with flipped(root.path / path, position, 1 << choice.randrange(3)):
            quick = not path.endswith((".gz", "/size"))
            found = " ".join(map(str, root.verify(quick=quick).findings))
            assert Path(path).parent.name in found or Path(path).name in found, (path, position)


def test_a_flipped_byte_in_any_recorded_file_is_named(golden_root: Build) -> None:
    root = golden_root("docker-1.9.1-aufs")
    choice = random.Random(2)
    count = 0
    for chain, layer in root.golden["layers"].items():
        directory = root.path / "aufs" / "diff" / layer["cache-id"]
        record = Record(root.layer(chain) / "tar-split.json.gz")
        for name, size, _ in [item for item in record if isinstance(item, tuple)]:
            inside = os.fsdecode(name)
            with flipped(directory / inside, choice.randrange(size), 1):
                (finding,) = root.verify().findings
            assert finding.name == f"sha256:{chain}"
            assert finding.path == f"aufs/diff/{layer['cache-id']}/{inside}"
            count += 1
    assert count > 30


def test_a_missing_file_of_a_layer_is_named(golden_root: Build) -> None:
    root = golden_root("docker-1.9.1-overlay")
    base = next(c for c, layer in root.golden["layers"].items() if layer["parent"] is None)
    cache_id = root.golden["layers"][base]["cache-id"]
    (root.path / "overlay" / cache_id / "root" / "etc" / "passwd").unlink()
    (finding,) = root.verify().findings
    assert (finding.name, finding.path) == (
        f"sha256:{base}",
        f"overlay/{cache_id}/root/etc/passwd",
    )


def test_quick_reads_no_layer(golden_root: Build) -> None:
    root = golden_root("docker-1.9.1-aufs")
    for path in (root.path / "aufs" / "diff").glob("*/etc/passwd"):
        path.write_bytes(b"other")
    assert root.verify(quick=True).findings == ()
    assert root.verify().exit_code is ExitCode.FAILED


def test_the_report_is_json_whatever_the_names_are(golden_root: Build) -> None:
    root = golden_root("docker-1.9.1-overlay")
    root.layer(os.fsdecode(b"\xff")).mkdir()
    report = root.verify(quick=True)
    document = json.loads(json.dumps(report.as_json()))
    assert document["passed"] is False
    assert document["findings"] == [
        {
            "about": "layer",
            "name": "\\xff",
            "path": "image/overlay/layerdb/sha256/\\xff",
            "reason": "the name is no chainID",
        }
    ]
    assert report.lines()[-1].startswith("1 fault")


def test_which_store_is_checked(tmp_path: Path, golden_root: Build) -> None:
    def check(path: Path, driver: str = "auto", quick: bool = True) -> None:
        verify(path, driver, deep=False, quick=quick, workers=1, progress=Progress())

    with pytest.raises(DataRootError):
        check(tmp_path / "nothing")
    with pytest.raises(DataRootError, match="no content-addressed store"):
        check(tmp_path)
    root = golden_root("docker-1.9.1-overlay")
    with pytest.raises(DriverError):
        check(root.path, "aufs")
    root.forget_manifest()
    (root.path / "image" / "devicemapper" / "layerdb").mkdir(parents=True)
    with pytest.raises(DriverError, match="devicemapper, overlay"):
        check(root.path)
    check(root.path, "overlay")
    check(root.path, "devicemapper")
