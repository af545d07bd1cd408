"""Exports that meet damage, full disks, and their own end; and those of a plain user."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Store, build, line
from migrator import cli
from migrator.commands.export import export as export_images
from migrator.errors import UsageError
from migrator.system import disk
from tests.command import migrator, snapshot
from tests.crash import faults
from tests.stores.exported import Layout, contents, export

NOBODY = 65534


@pytest.fixture
def built(tmp_path: Path) -> Built:
    tags = {"base:1": 0, "middle:1": 1, "app:latest": 2}
    return build(Store("vfs", line(3), tags=tags), tmp_path / "root")


@pytest.fixture
def migrated(built: Built) -> Path:
    assert migrator("migrate", "-g", built.root, "-q").returncode == 0
    return built.root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    (point := tmp_path / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)


def damage(root: Path, built: Built, index: int) -> None:
    """Take a file away that the layer with this index brought."""
    (root / "vfs/dir" / built.v1_ids[index] / f"d{index}-1/file1").unlink()


def test_a_damaged_layer_costs_its_images_only(
    built: Built, migrated: Path, tmp_path: Path
) -> None:
    damage(migrated, built, 1)
    run = export(migrated, tmp_path / "out")
    assert run.returncode == 3
    assert f"layer {built.diff_ids[1]}: its record cannot rebuild it (d1-1/file1" in run.stdout
    assert run.stdout.count("cannot be read") == 2
    layout = Layout.read(tmp_path / "out")
    assert set(layout.names) == {"base:1"}
    layout.check_diff_ids()
    assert export(migrated, tmp_path / "base", "base:1").returncode == 0
    nothing = export(migrated, tmp_path / "app", "app")
    assert (nothing.returncode, (tmp_path / "app").exists()) == (1, False)


def test_what_a_damaged_layer_put_into_an_archive_is_named_by_nothing(
    built: Built, migrated: Path, tmp_path: Path
) -> None:
    damage(migrated, built, 1)
    archive = tmp_path / "images.tar"
    assert export(migrated, archive, "--format", "docker-archive").returncode == 3
    manifest = subprocess.run(
        ["tar", "-xOf", archive, "manifest.json"], check=True, capture_output=True
    ).stdout
    assert [image["RepoTags"] for image in json.loads(manifest)] == [["base:1"]]


def test_a_missing_directory_is_known_before(built: Built, migrated: Path, tmp_path: Path) -> None:
    shutil.rmtree(migrated / "vfs/dir" / built.v1_ids[2])
    run = export(migrated, tmp_path / "out")
    assert run.returncode == 3
    assert "there is no directory vfs/dir" in run.stdout
    assert "tag app:latest: its image" in run.stdout
    assert set(Layout.read(tmp_path / "out").names) == {"base:1", "middle:1"}


def test_too_little_space_is_known_before(tmp_path: Path, small: Path) -> None:
    root = build(Store("vfs", line(1, 4, 1 << 20), tags={}), tmp_path / "root").root
    run = export(root, small / "out", "--compression", "none")
    assert run.returncode == 1
    assert "too full for the export" in run.stderr
    assert list(small.iterdir()) == []


@pytest.mark.parametrize("layout", ["oci", "docker-archive"])
def test_a_disk_that_fills_up(layout: str, tmp_path: Path, small: Path) -> None:
    # Random bytes, which no estimate knows to be so.
    root = build(Store("vfs", line(1, 4, 400 << 10), tags={}), tmp_path / "root").root
    run = export(root, small / "out", "--format", layout, "--compression", "gzip")
    assert run.returncode == 1
    assert "the disk is full" in run.stderr
    assert "what was begun is removed" in run.stderr
    assert list(small.iterdir()) == []
    assert export(root, tmp_path / "out", "--format", layout).returncode == 0


@pytest.mark.parametrize("fault", [faults.Fault.KILL, faults.Fault.FULL, faults.Fault.BROKEN])
@pytest.mark.parametrize("kind", ["oci", "empty", "docker-archive"])
def test_at_every_point_there_is_all_or_nothing(
    kind: str, fault: faults.Fault, built: Built, tmp_path: Path
) -> None:
    (place := tmp_path / "place").mkdir()
    arguments = ["export", "-g", built.root, "-o", place / "out", "-q"]
    if kind == "docker-archive":
        arguments += ["--format", kind]
    before = snapshot(built.root)

    def prepare() -> None:
        shutil.rmtree(place)
        place.mkdir()
        if kind == "empty":
            (place / "out").mkdir()

    prepare()
    whole = faults.run(arguments)
    assert whole.code == 0
    reference = contents(place)
    # Some of them, other ones for each fault: all would take minutes.
    for number in range(list(faults.Fault).index(fault), len(whole.points), 11):
        point = whole.points[number]
        if not fault.concerns(point.rpartition(" ")[0]):
            continue
        prepare()
        code = faults.run(arguments, fault=fault, point=number).code
        there = contents(place)
        complete = "out" in there if kind == "docker-archive" else "out/index.json" in there
        assert complete or code != 0
        if complete:
            assert reference.items() <= there.items(), point
        elif fault is faults.Fault.FULL:
            assert there == {}, point
        if not complete:
            assert faults.run(arguments).code == 0, point
            assert contents(place) == reference, point
    assert snapshot(built.root) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(number: int, built: Built, tmp_path: Path) -> None:
    (place := tmp_path / "place").mkdir()
    reached, reach = os.pipe()
    output, out = os.pipe()

    def hook(operation: str, path: Path) -> None:
        if operation == "close done":
            os.write(reach, b"x")
            signal.pause()

    def child() -> int:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout = sys.stderr = os.fdopen(out, "w", buffering=1)
        disk.hook = hook
        return cli.run(["export", "-g", str(built.root), "-o", str(place / "out"), "-q"])

    pid = faults.fork(child)
    os.close(out)
    assert select.select([reached], [], [], 60)[0]
    os.killpg(pid, number)
    assert faults.ended(pid) == 4
    text = os.read(output, 1 << 16).decode()
    assert "nothing was exported, and what was begun is removed" in text
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("kind", ["legacy", "migrated"])
def test_without_root(kind: str, built: Built, tmp_path: Path) -> None:
    if kind == "migrated":
        assert migrator("migrate", "-g", built.root, "-q").returncode == 0
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", built.root], check=True)
    subprocess.run(["chmod", "-R", "a-w", built.root], check=True)
    (place := tmp_path / "place").mkdir()
    os.chown(place, NOBODY, NOBODY)
    for directory in (tmp_path, *tmp_path.parents):
        directory.chmod(directory.stat().st_mode | 0o055)

    def as_nobody(root: Path) -> subprocess.CompletedProcess[str]:
        wrapper = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        arguments = ("export", "-g", root, "-o", place / "out", "--progress", "none")
        return migrator(*arguments, env={"TMPDIR": str(place)}, wrapper=wrapper)

    # Nothing in there concerns an export.
    (built.root / "containers").chmod(0o700)
    os.chown(built.root / "containers", 0, 0)
    run = as_nobody(built.root)
    assert run.returncode == 0, run.stderr
    layout = Layout.read(place / "out")
    assert layout.config(layout.names["app:latest"])["rootfs"]["diff_ids"] == list(built.diff_ids)
    shutil.rmtree(place / "out")

    metadata = built.root / ("graph" if kind == "legacy" else "image/vfs/layerdb")
    os.chown(metadata, 0, 0)
    metadata.chmod(0o700)
    refused = as_nobody(built.root)
    assert refused.returncode == 1
    assert "run it as root" in refused.stderr
    assert list(place.iterdir()) == []


def test_two_at_once_do_not_meet(built: Built, tmp_path: Path) -> None:
    aside = tmp_path / ".out.migrator-export"
    aside.mkdir()
    (aside / "blobs").mkdir()
    holder = subprocess.Popen(
        ["flock", "--exclusive", aside, "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None and holder.stdout.read(1) == b"\n"
    run = export(built.root, tmp_path / "out")
    assert run.returncode == 1
    assert "another migrator is at work here" in run.stderr
    assert (aside / "blobs").is_dir()
    holder.communicate()
    assert export(built.root, tmp_path / "out").returncode == 0
    assert not aside.exists()


def test_a_directory_that_was_filled_meanwhile_stays(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out := tmp_path / "out").mkdir()

    def hook(operation: str, path: Path) -> None:
        if operation == "mkdir" and path.parent == out:
            (out / "index.json").write_text("of another run")

    monkeypatch.setattr(disk, "hook", hook)
    with pytest.raises(UsageError, match="not empty"):
        export_images(built.root, out, workers=0)
    assert contents(out) == {"index.json": b"of another run"}


def test_standard_output_that_nobody_reads(built: Built, tmp_path: Path) -> None:
    arguments = ["export", "-g", built.root, "-o", "-", "--format", "docker-archive", "-q"]
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "migrator", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr.startswith("migrator: standard output: the disk is full\n")
    assert {path.name for path in tmp_path.iterdir()} == {"root"}


def test_what_killed_runs_left_is_cleared(built: Built, tmp_path: Path) -> None:
    (tmp_path / "migrator-export-abc/layers").mkdir(parents=True)
    (tmp_path / "migrator-export-abc/layers/.x").touch()
    arguments = ["-g", built.root, "-o", "-", "--format", "docker-archive", "-q"]
    command = [sys.executable, "-m", "migrator", "export", *arguments, "--work-dir", tmp_path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert {path.name for path in tmp_path.iterdir()} == {"root"}
