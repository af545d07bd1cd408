"""Layers without a tar-split record, or with one that no longer fits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import dump, migrator

StoreCopy = Callable[[str], Path]


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("docker-1.9.1-overlay", "overlay"),
        ("docker-1.9.1-overlay-pulled", "overlay"),
        ("docker-1.9.1-overlay-odd", "overlay"),
        ("docker-1.9.1-aufs", "aufs"),
        ("docker-1.9.1-btrfs", "btrfs"),
    ],
)
def test_same_ids_at_any_path_and_time(
    name: str, driver: str, store_copy: StoreCopy, tmp_path: Path
) -> None:
    root = store_copy(name)
    for record in root.glob("graph/*/tar-data.json.gz"):
        record.unlink()
    other = tmp_path / "at" / "another" / "place"
    other.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", root, other], check=True)
    results = []
    for place, time in ((root, "2016-02-29 12:00:00"), (other, "2031-07-01 23:59:59")):
        report = tmp_path / "report.json"
        run = migrator("migrate", "-g", place, "-q", "--report", report, wrapper=("faketime", time))
        assert run.returncode in (0, 3), run.stderr
        assert not [p for p in json.loads(report.read_text())["problems"] if p["about"] == "layer"]
        check = migrator("verify", "-g", place, "--progress", "none")
        assert check.returncode == 0, check.stdout + check.stderr
        results.append(dump(place, driver))
    assert results[0]["id_map"]
    assert results[0] == results[1]
    # What a registry calls the layer was said of another tar.
    assert results[0]["distribution"] == {}


def test_changed_file_is_named_and_the_images_are_usable(
    store_copy: StoreCopy, tmp_path: Path
) -> None:
    root = store_copy("docker-1.9.1-btrfs")
    victim = _file_of_own_record(root)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    layer, inside = victim.relative_to(root / "btrfs/subvolumes").as_posix().split("/", 1)
    report = tmp_path / "report.json"

    run = migrator("migrate", "-g", root, "--progress", "none", "--report", report)

    assert run.returncode == 3  # for the container whose image is gone, not for this
    document = json.loads(report.read_text())
    (row,) = (row for row in document["layers"] if row["method"] == "recomputed")
    assert row["v1_id"] == layer
    assert inside in row["fault"]
    (news,) = (problem for problem in document["problems"] if not problem["left_out"])
    assert layer in news["name"]
    assert inside in news["reason"]
    assert layer in run.stdout
    assert inside in run.stdout
    check = migrator("verify", "-g", root, "--progress", "none")
    assert check.returncode == 0, check.stdout


def _file_of_own_record(root: Path) -> Path:
    """A file that is in the record of the layer in whose directory it is named here."""
    import gzip

    for record in sorted(root.glob("graph/*/tar-data.json.gz")):
        for line in gzip.decompress(record.read_bytes()).splitlines():
            entry = json.loads(line)
            if entry["type"] == 1 and entry.get("size", 0) > 10 and entry.get("name"):
                return root / "btrfs/subvolumes" / record.parent.name / entry["name"]
    raise AssertionError("no layer has a file")


def test_missing_parent_directory_stops_only_what_builds_on_it(store_copy: StoreCopy) -> None:
    import shutil

    root = store_copy("docker-1.7.1-overlay")
    parents = {
        directory.name: json.loads((directory / "json").read_bytes()).get("parent")
        for directory in root.glob("graph/*")
        if (directory / "json").exists()
    }
    gone = next(parent for parent in parents.values() if parent and parents[parent])
    shutil.rmtree(root / "overlay" / gone)
    lost = {gone}
    while more := {child for child, parent in parents.items() if parent in lost} - lost:
        lost |= more

    run = migrator("migrate", "-g", root, "--progress", "none")

    assert run.returncode == 3
    assert all(v1_id in run.stdout for v1_id in lost)
    migrated = dump(root, "overlay")["id_map"]
    assert set(migrated) == set(parents) - lost
    assert migrator("verify", "-g", root, "-q").returncode == 0
