"""Disks that are full, or become full: real ones, small file systems in memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Store, build, line
from migrator.commands import migrate as migration
from migrator.commands.plan import plan
from migrator.errors import StoreError
from migrator.migration.space import Space
from migrator.system import disk
from tests.command import migrator, snapshot
from tests.crash.scenarios import copy, dump
from tests.scratch import scratch

STORE = Store("vfs", line(4), records=False)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Built]]:
    """Mounts a file system with such options, and builds a store in it."""

    def mount(options: str) -> Built:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", tmp_path], check=True)
        return build(STORE, tmp_path / "root")

    yield mount
    subprocess.run(["umount", tmp_path], check=True)


@pytest.fixture
def reference() -> dict[str, object]:
    with scratch() as directory:
        root = build(STORE, directory / "root").root
        migration.migrate(root, workers=0)
        return dump(root, "vfs")


def fill(directory: Path, free: int) -> Path:
    """Leave so many bytes free."""
    status = os.statvfs(directory)
    (filler := directory / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize - free))
    return filler


def test_too_little_space_is_known_before_anything_is_done(
    mounted: Callable[[str], Built], reference: dict[str, object]
) -> None:
    root = mounted("size=8m").root
    filler = fill(root.parent, 300 << 10)
    before = snapshot(root)
    run = migrator("migrate", "-g", root)
    assert run.returncode == 1
    assert "the disk is too full for the migration" in run.stderr
    assert "are needed, 307.2 kB are free" in run.stderr
    assert snapshot(root) == before
    filler.unlink()
    assert migrator("migrate", "-g", root, "-q").returncode == 0
    assert dump(root, "vfs") == reference


def test_too_few_inodes_are_known_before_anything_is_done(mounted: Callable[[str], Built]) -> None:
    root = mounted("size=8m,nr_inodes=1000").root
    for number in range(os.statvfs(root).f_favail - 40):
        (root.parent / f"filler{number}").touch()
    before = snapshot(root)
    run = migrator("migrate", "-g", root)
    assert run.returncode == 1
    assert "inodes are needed, 40 are free" in run.stderr
    assert snapshot(root) == before


@pytest.mark.parametrize("free", [0, 1, 3, 6, 9, 12, 15, 18, 24, 30])
def test_a_disk_that_is_full_loses_nothing(
    free: int,
    mounted: Callable[[str], Built],
    reference: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = mounted("size=8m").root
    before = snapshot(root)
    monkeypatch.setattr(Space, "check", lambda self: None)
    filler = fill(root.parent, free << 12)
    with pytest.raises(StoreError, match="full") as raised:
        migration.migrate(root, workers=2)
    assert raised.value.subject.startswith(str(root))
    assert snapshot(root, without=(".migrator",)) == before
    filler.unlink()
    assert migration.migrate(root, workers=2).exit_code == 0
    assert dump(root, "vfs") == reference


def test_space_is_watched_while_layers_are_hashed(
    mounted: Callable[[str], Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = mounted("size=8m").root
    before = snapshot(root)

    def hook(operation: str, path: Path) -> None:
        if operation == "end record done":
            fill(root.parent, 100 << 10)

    monkeypatch.setattr(disk, "hook", hook)
    with pytest.raises(StoreError, match="too full for the migration"):
        migration.migrate(root, workers=0)
    assert snapshot(root, without=(".migrator",)) == before


@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("file_size", [10, 100_000])
def test_the_estimate_is_generous(records: bool, file_size: int) -> None:
    with scratch() as directory:
        store = Store("vfs", line(20, 30, file_size), records=records)
        root = build(store, directory / "root").root
        need = Space(plan(root)).need
        copy(root, other := directory / "other")
        migration.migrate(other, workers=0)
        before, after = used(root), used(other)
    assert after[0] - before[0] < need.size < 20 * (after[0] - before[0])
    assert after[1] - before[1] < need.files < 4 * (after[1] - before[1])


def used(root: Path) -> tuple[int, int]:
    """Bytes and files."""
    seen = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            status = os.lstat(os.path.join(directory, name))
            # A directory takes a block on other file systems than this.
            seen[status.st_ino] = status.st_blocks * 512 or 4096
    return sum(seen.values()), len(seen)
