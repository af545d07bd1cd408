"""The devicemapper driver on whole stores."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from legacy_fixtures.build import Store, build
from legacy_fixtures.thinpool import to_thin_pool
from migrator.commands import migrate as migration
from migrator.commands.verify import verify
from migrator.drivers.devicemapper import Devicemapper
from migrator.drivers.thinpool import location, mounting
from migrator.drivers.thinpool.image import Image
from migrator.errors import DriverError, StoreError
from migrator.system.mountinfo import own_mounts
from tests.command import dump, migrator, snapshot
from tests.stores.thinstore import (
    FORKED,
    NAME,
    as_devicemapper,
    left_over,
    loop_device,
    mounts,
    thin_store,
)

StoreCopy = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("TMPDIR", str(work))
    yield
    assert not left_over(work)
    assert not os.listdir(work)
    assert not mounts()


def test_pool_on_two_block_devices(store_copy: StoreCopy, golden: Golden, tmp_path: Path) -> None:
    root = store_copy(NAME)
    for name in ("data", "metadata"):
        (root / "devicemapper/devicemapper" / name).rename(tmp_path / name)
    assert "storage-opt" in migrator("migrate", "-g", root).stderr
    with loop_device(tmp_path / "data") as data, loop_device(tmp_path / "metadata") as metadata:
        options = [f"--storage-opt=dm.datadev={data}", f"--storage-opt=dm.metadatadev={metadata}"]
        run = migrator(
            "migrate", "-g", root, "--progress=none", "--storage-opt=dm.fs=xfs", *options
        )
        assert run.returncode == 3, run.stderr
        assert dump(root, "devicemapper") == golden(NAME)
        check = migrator("verify", "--deep", "-g", root, "-q", *options)
        assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_trees_of_all_kinds_without_records(fs: str, store_copy: StoreCopy, golden: Golden) -> None:
    name = "docker-1.7.1-vfs-trees"
    root = store_copy(name)
    to_thin_pool(root, "vfs", fs, afresh=True)
    before = snapshot(root)
    run = migrator("migrate", "-g", root, "--progress", "none")
    assert run.returncode == 3, run.stderr
    assert dump(root, "devicemapper") == as_devicemapper(golden(name))
    assert migrator("rollback", "-g", root).returncode == 0
    assert snapshot(root) == before


def test_resumes_without_mounting_what_it_knows(tmp_path: Path, monkeypatch: Any) -> None:
    root = tmp_path / "root"
    built = thin_store(root)
    migrator("checksums", "-g", root, "-q")
    mounted: list[str] = []
    mount = mounting.Reader._mount
    monkeypatch.setattr(
        mounting.Reader,
        "_mount",
        lambda self, slot, name: (mounted.append(name), mount(self, slot, name))[1],
    )
    assert all(layer.kept for layer in migration.migrate(root, workers=0).layers)
    assert not mounted
    migrator("rollback", "-g", root)
    migrator("checksums", "-g", root, "-q")
    # Any write to the pool may have been to any layer.
    os.utime(root / "devicemapper/devicemapper/data", (1, 1))
    assert not any(layer.kept for layer in migration.migrate(root, workers=0).layers)
    assert set(mounted) == set(built.v1_ids)


def test_pool_is_read_less_than_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    thin_store(root)
    read = multiprocessing.get_context("fork").Value("q", 0)
    copy = Image._copy

    def counting(self: Image, source: int, runs: Any) -> None:
        runs = list(runs)
        if os.readlink(f"/proc/self/fd/{source}").endswith("devicemapper/data"):
            with read.get_lock():
                read.value += sum(length for _, _, length in runs)
        copy(self, source, runs)

    monkeypatch.setattr(Image, "_copy", counting)
    distinct = (root / "devicemapper/devicemapper/data").stat().st_size // (64 << 10)
    for workers in (0, 2, 4):
        read.value = 0
        migration.migrate(root, workers=workers)
        # All but what only the base device has.
        assert distinct / 2 < read.value <= 2 * distinct
        migrator("rollback", "-g", root)


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_journals_are_replayed_on_the_image(
    fs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool of a machine that lost power: what it has may be in a journal only."""
    replayed: list[Image] = []
    copy = Image.copy
    monkeypatch.setattr(Image, "copy", lambda self: (replayed.append(self), copy(self))[1])
    root, expected = tmp_path / "root", tmp_path / "expected"
    build(Store("vfs", FORKED, records=False), expected)
    subprocess.run(["cp", "-a", expected, root], check=True)
    to_thin_pool(root, "vfs", fs, dirty=True)
    data = (root / "devicemapper/devicemapper/data").read_bytes()
    migration.migrate(expected, workers=0)
    assert migration.migrate(root, workers=0).exit_code == 0
    assert len(replayed) >= len(FORKED)
    assert dump(root, "devicemapper") == as_devicemapper(dump(expected, "vfs"))
    assert (root / "devicemapper/devicemapper/data").read_bytes() == data


def test_no_room_to_replay_a_journal_is_no_fault_of_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, work = tmp_path / "root", tmp_path / "work"
    build(Store("vfs", FORKED[:2], records=False), root)
    to_thin_pool(root, "vfs", "ext4", dirty=True)
    assert migration.migrate(root, workers=0).exit_code == 0
    asked: list[object] = []

    def statvfs(path: Path) -> Any:
        """There is room for the images, and then none any more."""
        asked.append(path)
        return real(path) if asked.count(work) < 2 else SimpleNamespace(f_bavail=0, f_frsize=1)

    real = os.statvfs
    monkeypatch.setattr(os, "statvfs", statvfs)
    with pytest.raises(StoreError, match="journal has to be replayed") as raised:
        verify(root, workers=0)
    assert (raised.value.subject, "--work-dir" in raised.value.hint) == (str(work), True)


def test_device_without_rootfs_is_an_empty_layer(tmp_path: Path) -> None:
    root = tmp_path / "root"
    built = thin_store(root, layers=FORKED[:2])
    bottom, top = built.v1_ids
    expected = migration.migrate(root, workers=0).layers
    migrator("rollback", "-g", root)
    (root / "devicemapper/metadata/base").rename(root / "devicemapper/metadata" / bottom)
    layers = {layer.v1_id: layer for layer in migration.migrate(root, workers=0).layers}
    assert layers[bottom].diff_id == f"sha256:{hashlib.sha256(bytes(1024)).hexdigest()}"
    assert layers[top].files > max(layer.files for layer in expected)


def test_layers_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where and how they are mounted, what of them stays, and that nobody else sees it."""
    root = tmp_path / "root"
    bottom, middle, top, *_ = thin_store(root).v1_ids
    driver = Devicemapper(root)
    monkeypatch.chdir(tmp_path)
    namespace = os.readlink("/proc/self/ns/mnt")
    with driver.opened():
        with driver.prepared(middle, bottom):
            seen = {m.mount_point: m for m in own_mounts() if m.mount_point.startswith(str(root))}
            assert set(os.listdir(driver.layer_root(middle))) > {"d0-0", "d1-0"}
            assert "d1-0" not in os.listdir(driver.layer_root(bottom))
            assert str(driver.layer_root(top).parent) not in seen
            assert not mounts()
            options = os.statvfs(driver.layer_root(middle)).f_flag
            wanted = os.ST_RDONLY | os.ST_NODEV | os.ST_NOSUID | os.ST_NOEXEC
            assert options & wanted == wanted
            held = (driver.layer_root(bottom) / "d0-0/file0").open("rb")
            content = held.read(10)
        with driver.prepared(top, middle):
            assert not driver.layer_root(bottom).exists()
            # One that is still read goes on to be what it was.
            held.seek(0)
            assert held.read(10) == content
            held.close()
        assert driver.layer_exists(top)
        pid = os.fork()
        if not pid:
            with driver.prepared(bottom):
                os._exit(not driver.layer_root(bottom).is_dir())
        assert os.waitpid(pid, 0)[1] == 0
        assert not driver.layer_root(bottom).exists()
    assert os.readlink("/proc/self/ns/mnt") == namespace
    assert Path.cwd() == tmp_path
    assert not driver.layer_root(top).exists()


def test_missing_tools_are_named_before_any_work(
    store_copy: StoreCopy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = store_copy(NAME)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("migrator.drivers.thinpool.loop.CONTROL", tmp_path / "loop-control")
    with (
        pytest.raises(DriverError, match=r"thin-provisioning-tools.*loop-control") as raised,
        Devicemapper(root).opened(),
    ):
        pass
    assert "device-mapper-persistent-data" in str(raised.value)


def test_file_system_that_the_kernel_has_not(
    store_copy: StoreCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrator.drivers.thinpool.store.file_system_of", lambda _: "no-such-fs")
    with (
        pytest.raises(DriverError, match="the kernel has no no-such-fs") as raised,
        Devicemapper(store_copy(NAME)).opened(),
    ):
        pass
    assert "modprobe no-such-fs" in raised.value.hint


def test_pool_that_the_kernel_has_open(
    store_copy: StoreCopy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden
) -> None:
    root = store_copy(NAME)
    backing = tmp_path / "sys/block/loop0/loop/backing_file"
    backing.parent.mkdir(parents=True)
    backing.write_text(f"{root}/devicemapper/devicemapper/data\n")
    (tmp_path / "sys/block/loop0/holders/dm-0").mkdir(parents=True)
    (tmp_path / "sys/block/dm-0/dm").mkdir(parents=True)
    (tmp_path / "sys/block/dm-0/dm/name").write_text("docker-8:1-42-pool\n")
    users = functools.partial(location.users, sys=tmp_path / "sys")
    monkeypatch.setattr("migrator.drivers.thinpool.store.users", users)
    with pytest.raises(DriverError, match="has the thin pool open: docker-8:1-42-pool") as raised:
        migration.migrate(root, workers=0)
    assert "dm.metadata-snapshot=true" in raised.value.hint

    options = ["dm.metadata-snapshot=true"]
    with pytest.raises(DriverError, match="no metadata snapshot is reserved"):
        migration.migrate(root, storage_opts=options, workers=0)
    reserve_metadata_snapshot(root / "devicemapper/devicemapper/metadata")
    assert migration.migrate(root, storage_opts=options, workers=0).exit_code == 3
    assert dump(root, "devicemapper") == golden(NAME)


def reserve_metadata_snapshot(metadata: Path) -> None:
    """What the kernel's message does: a copy of the superblock in a block of its own.

    The superblock itself then goes another way: here it has no devices any more.
    """
    size = 4096
    with metadata.open("r+b") as file:
        superblock = bytearray(file.read(size))
        at = 900
        struct.pack_into("<Q", superblock, 8, at)
        file.seek(at * size)
        assert file.read(size) == bytes(size)
        file.seek(at * size)
        file.write(sealed(superblock))
        struct.pack_into("<QQ", superblock, 8, 0, 0)
        struct.pack_into("<Q", superblock, 56, at)
        # No trees where these point.
        struct.pack_into("<QQ", superblock, 320, 800, 800)
        file.seek(0)
        file.write(sealed(superblock))


def sealed(block: bytearray) -> bytes:
    """With the checksum of a superblock: CRC-32C, xored with a number of its own."""
    crc = 0xFFFFFFFF
    for byte in block[4:]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    struct.pack_into("<I", block, 0, crc ^ 160774)
    return bytes(block)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["dm.datadev=/dev/null"], "belong together"),
        (["dm.metadata-snapshot=yes"], "is true or false"),
        (["dm.no-such=1"], "has no storage option"),
        (["dm.thinpooldev=nothing"], "/dev/mapper/nothing"),
    ],
)
def test_options_that_cannot_be(options: list[str], message: str, store_copy: StoreCopy) -> None:
    root = store_copy(NAME)
    run = migrator("migrate", "-g", root, *(f"--storage-opt={option}" for option in options))
    assert (run.returncode, message in run.stderr) == (1, True), run.stderr


def test_room_for_images_is_checked_before(store_copy: StoreCopy, tmp_path: Path) -> None:
    root, small = store_copy(NAME), tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        run = migrator("migrate", "-g", root, "--work-dir", small)
        assert run.returncode == 1
        assert re.search(r"no room for the images .* are needed, 1.0 MB are free", run.stderr)
        assert "--work-dir" in run.stderr
        # Enough for one worker, with holes instead of zeros.
        subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
        report = tmp_path / "report.json"
        run = migrator(
            "migrate", "-g", root, "--work-dir", small, "--workers=4", "-q", "--report", report
        )
        assert run.returncode == 3, run.stderr
        assert {layer["worker"] for layer in json.loads(report.read_text())["layers"]} == {0}
    finally:
        subprocess.run(["umount", small], check=True)
    run = migrator("verify", "-g", root, "--work-dir", tmp_path / "nothing")
    assert (run.returncode, "--work-dir" in run.stderr) == (1, True)


@pytest.mark.parametrize("how", [(), ("--deep",)])
def test_a_full_work_directory_is_no_fault_of_the_store(
    how: tuple[str, ...], store_copy: StoreCopy, tmp_path: Path
) -> None:
    """Full of files: that there is room in bytes is known before."""
    root, full = store_copy(NAME), tmp_path / "full"
    assert migrator("migrate", "-g", root, "-q").returncode == 3
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=1", "none", full], check=True)
    try:
        run = migrator("verify", "-g", root, "--work-dir", full, *how)
    finally:
        subprocess.run(["umount", full], check=True)
    assert run.returncode == 1
    assert str(full) in run.stderr, run.stderr
    assert "the disk is full" in run.stderr
    assert "layer sha256:" not in run.stdout


@pytest.fixture
def dumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets a line whenever `thin_dump` is run."""
    program, log, directory = shutil.which("thin_dump"), tmp_path / "dumps", tmp_path / "bin"
    directory.mkdir()
    wrapper = directory / "thin_dump"
    wrapper.write_text(f'#!/bin/sh\necho run >>{log}\nexec {program} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return log


def test_the_pool_is_opened_once_a_command(dumps: Path, tmp_path: Path) -> None:
    """Reading its mappings is what takes long before the first layer is read."""
    root = tmp_path / "root"
    built = thin_store(root, layers=FORKED[:2])
    subprocess.run(["cp", "-a", root, other := tmp_path / "other"], check=True)
    commands: list[tuple[str | Path, ...]] = [
        ("checksums", "-g", root, "-q"),
        ("export", "-g", root, "-q", "-o", tmp_path / "of-legacy", built.v1_ids[0]),
        ("migrate", "-g", root, "-q"),
        ("verify", "-g", root, "-q"),
        ("verify", "-g", root, "-q", "--deep"),
        ("export", "-g", root, "-q", "-o", tmp_path / "of-migrated"),
        ("migrate", "-g", root, "-q", "--target-driver", "overlay2"),
        ("migrate", "-g", other, "-q", "--target-driver", "overlay2"),
    ]
    for command in commands:
        dumps.write_text("")
        run = migrator(*command)
        assert (run.returncode, run.stderr) == (0, ""), command
        assert dumps.read_text() == "run\n", command


def test_a_store_of_a_younger_docker_is_read_with_the_options(tmp_path: Path) -> None:
    """One without the legacy store that it was made from."""
    root = tmp_path / "root"
    thin_store(root, layers=FORKED[:2])
    assert migrator("migrate", "-g", root, "-q").returncode == 0
    shutil.rmtree(root / "graph")
    missing = tmp_path / "nothing"
    for command in (("migrate", "--target-driver", "overlay2"), ("export", "-o", missing)):
        run = migrator(*command, "-g", root, "--work-dir", missing)
        assert (run.returncode, "--work-dir" in run.stderr) == (1, True), run.stderr
