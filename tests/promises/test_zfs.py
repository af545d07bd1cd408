"""zfs: layers in datasets, which have to be mounted and be left as they were."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from legacy_fixtures.build import Built, Store, build, line
from migrator.drivers.zpool.aside import DIRECTORY
from migrator.drivers.zpool.datasets import RESTORE
from tests.command import dump, migrator
from tests.stores.zfspool import Pool

pytestmark = pytest.mark.xdist_group("zfs")

Unpack = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

RECORDED, BARE = "docker-1.9.1-btrfs", "docker-1.7.1-overlay"
DRIVERS = {RECORDED: "btrfs", BARE: "overlay"}


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(tmp_path_factory.mktemp("zfs")) as pool:
        yield pool


@pytest.fixture(scope="session")
def small(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A store of three layers, as vfs; those of zfs are in `tank/small`."""
    directory = tmp_path_factory.mktemp("small")
    built = build(Store("vfs"), directory / "vfs")
    pool.lay_out(built.root, "vfs", "tank/small", directory / "zfs")
    return built


@pytest.fixture
def root(small: Built, tmp_path: Path) -> Path:
    """A data root of its own for the layers in `tank/small`."""
    Pool.metadata(small.root, "vfs", tmp_path / "root")
    return tmp_path / "root"


def on(pool: Pool, command: str, root: Path, parent: str, **more: Any) -> Any:
    option = f"zfs.fsname={parent}"
    arguments = (command, "-g", root, "--storage-opt", option, "--progress", "none")
    wrapper = (*pool.wrapper, *more.pop("wrapper", ()))
    return migrator(*arguments, *more.pop("options", ()), wrapper=wrapper, **more)


def as_zfs(result: dict[str, Any], driver: str) -> dict[str, Any]:
    """What a store of another driver became, had it been one of zfs."""
    found: dict[str, Any] = json.loads(json.dumps(result).replace(driver, "zfs"))
    return found


def diff_ids(root: Path) -> set[str]:
    return {layer["diff"] for layer in dump(root, "zfs")["layers"].values()}


def untouched(pool: Pool) -> bool:
    """Whether nothing is mounted but what a test has mounted itself."""
    return not [place for place in pool.mounts() if place.startswith(str(DIRECTORY))]


def laid_out(name: str, pool: Pool, unpacked: Path, directory: Path) -> tuple[Path, Path]:
    """A real store in `tank/<name>`; its copy in its own layout, and its new data root."""
    original, root = directory / "original", directory / "root"
    subprocess.run(["cp", "-a", unpacked, original], check=True)
    # zfs-fuse takes no times after 2038; a record has the true one.
    for file in (original / DRIVERS[name]).glob("**/etc/future"):
        os.utime(file, (2e9, 2e9))
    pool.lay_out(original, DRIVERS[name], f"tank/{name}", root)
    return original, root


def test_with_records_it_becomes_what_docker_made_of_it(
    pool: Pool, store: Unpack, golden: Golden, tmp_path: Path
) -> None:
    _, root = laid_out(RECORDED, pool, store(RECORDED), tmp_path)
    before = pool.properties(f"tank/{RECORDED}")

    run = on(pool, "migrate", root, f"tank/{RECORDED}")

    assert (run.returncode, run.stderr) == (3, "")  # for a container whose image is gone
    assert dump(root, "zfs") == as_zfs(golden(RECORDED), "btrfs")
    verified = on(pool, "verify", root, f"tank/{RECORDED}")
    assert verified.returncode == 0, verified.stdout
    assert pool.properties(f"tank/{RECORDED}") == before
    assert untouched(pool)


def test_without_records_the_trees_give_the_same(
    pool: Pool, store: Unpack, golden: Golden, tmp_path: Path
) -> None:
    original, root = laid_out(BARE, pool, store(BARE), tmp_path)
    before = pool.properties(f"tank/{BARE}")

    assert on(pool, "migrate", root, f"tank/{BARE}").returncode == 3

    layers = dump(root, "zfs")["layers"].values()
    docker = {layer["cache-id"]: layer["diff"] for layer in golden(BARE)["layers"].values()}
    # The bottom layer has the file whose time zfs-fuse does not take.
    above = {layer["cache-id"]: layer["diff"] for layer in layers if layer["parent"]}
    assert len(above) > 20
    assert above == {cache_id: docker[cache_id] for cache_id in above}
    assert migrator("migrate", "-g", original, "-q").returncode == 3
    assert dump(root, "zfs") == as_zfs(dump(original, "overlay"), "overlay")
    assert pool.properties(f"tank/{BARE}") == before
    assert untouched(pool)


def test_the_dataset_is_the_one_that_the_data_root_lies_on(
    pool: Pool, small: Built, tmp_path: Path
) -> None:
    root = tmp_path / "mounted"
    pool.run("zfs", "create", "-o", f"mountpoint={root}", "tank/found")
    pool.lay_out(small.root, "vfs", "tank/found", tmp_path / "metadata")
    pool.run("cp", "-a", f"{tmp_path}/metadata/.", root)
    # One that is mounted is read there; the others are put back where they get it from.
    mounted, inheriting, _ = small.v1_ids
    pool.run("zfs", "set", f"mountpoint={tmp_path}/elsewhere", f"tank/found/{mounted}")
    pool.run("zfs", "inherit", "mountpoint", f"tank/found/{inheriting}")
    pool.run("zfs", "unmount", f"tank/found/{inheriting}")
    pool.run("zfs", "set", "readonly=off", f"tank/found/{inheriting}")
    before = pool.properties("tank/found")

    run = migrator("migrate", "-g", root, "-q", wrapper=pool.wrapper)

    assert (run.returncode, run.stderr) == (0, "")
    assert pool.run("ls", root / "image/zfs/layerdb/sha256").split() == sorted(
        chain.removeprefix("sha256:") for chain in small.chain_ids
    )
    assert pool.properties("tank/found") == before
    assert set(pool.mounts()) == {str(root), f"{tmp_path}/elsewhere"}


def test_what_cannot_be_read_costs_only_what_builds_on_it(
    pool: Pool, root: Path, tmp_path: Path
) -> None:
    store = Store("vfs", layers=(*line(2), *line(1), *line(1)), tags={}, seed=1)
    built = build(store, tmp_path / "vfs")
    root = tmp_path / "zfs"
    pool.lay_out(built.root, "vfs", "tank/damaged", root)
    _, unreadable, missing, healthy = built.v1_ids
    pool.run("zfs", "set", "canmount=off", f"tank/damaged/{unreadable}")
    pool.run("zfs", "destroy", f"tank/damaged/{missing}")
    before = pool.properties("tank/damaged")

    run = on(pool, "migrate", root, "tank/damaged")

    assert run.returncode == 3
    assert f"tank/damaged/{unreadable}: zfs: cannot mount" in run.stdout
    assert missing in run.stdout
    assert diff_ids(root) == {built.diff_ids[0], built.diff_ids[3]}
    assert healthy not in run.stdout
    assert pool.properties("tank/damaged") == before


# Stands before the real one: ends migrator at the command with a certain number
# among those that change something, before it is run or after it.
KILLING = """#!/bin/sh
case $1 in set|inherit|mount|unmount)
    echo "$*" >> "$LOG"
    if [ "$(wc -l < "$LOG")" = "$KILL_AT" ]; then
        [ "$WHEN" = after ] && /sbin/zfs "$@"
        kill -KILL "$MIGRATOR"
        # Meanwhile the next run may have begun.
        [ "$WHEN" = before ] && sleep 0.3 && /sbin/zfs "$@"
        exit
    fi
esac
exec /sbin/zfs "$@"
"""


@pytest.mark.parametrize(
    ("kill_at", "when"),
    [
        pytest.param(1, "after", id="noted"),
        pytest.param(3, "before", id="being mounted"),
        pytest.param(3, "after", id="mounted"),
        pytest.param(5, "after", id="mountpoint put back"),
        pytest.param(6, "after", id="readonly put back"),
    ],
)
def test_the_next_run_puts_right_what_a_killed_one_left(
    kill_at: int, when: str, pool: Pool, small: Built, root: Path, tmp_path: Path
) -> None:
    before = pool.properties("tank/small")
    command = tmp_path / "bin" / "zfs"
    command.parent.mkdir()
    command.write_text(KILLING)
    command.chmod(0o755)
    killed = on(
        pool,
        "migrate",
        root,
        "tank/small",
        options=["--workers", "1"],
        wrapper=("sh", "-c", 'export MIGRATOR=$$; exec "$@"', "sh"),
        env={
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "LOG": str(tmp_path / "log"),
            "KILL_AT": str(kill_at),
            "WHEN": when,
        },
    )
    assert killed.returncode == -9
    if when == "after":
        assert pool.properties("tank/small") != before

    if kill_at == 5:
        option = ("--storage-opt", "zfs.fsname=tank/small")
        rolled_back = migrator("rollback", "-g", root, *option, "-q", wrapper=pool.wrapper)
        assert (rolled_back.returncode, rolled_back.stderr) == (0, "")
        assert pool.properties("tank/small") == before
    run = on(pool, "migrate", root, "tank/small")

    assert (run.returncode, run.stderr) == (0, "")
    assert diff_ids(root) == {*small.diff_ids}
    assert pool.properties("tank/small") == before
    assert untouched(pool)


@pytest.mark.parametrize(
    "note", ["x", "readonly=on (local)", "readonly=on (local), mountpoint=/etc (temporary)"]
)
def test_a_note_that_is_not_ours_stops_the_run(
    note: str, pool: Pool, small: Built, root: Path
) -> None:
    dataset = f"tank/small/{small.v1_ids[0]}"
    # A child's is inherited and says nothing of the child.
    pool.run("zfs", "set", f"{RESTORE}=of the parent", "tank/small")
    pool.run("zfs", "set", f"{RESTORE}={note}", dataset)

    run = on(pool, "checksums", root, "tank/small")

    assert run.returncode == 1
    assert f"{dataset}: its property {RESTORE} cannot be understood" in run.stderr
    assert f"zfs inherit {RESTORE} {dataset}" in run.stderr
    pool.run("zfs", "inherit", RESTORE, dataset)
    assert on(pool, "checksums", root, "tank/small").returncode == 0
    pool.run("zfs", "inherit", RESTORE, "tank/small")


@pytest.mark.parametrize(
    ("hidden", "option", "messages"),
    [
        ("/usr/sbin", "tank/small", ["no command 'zfs'", "zfsutils-linux", "zfs-fuse"]),
        ("/run/zfs", "tank/small", ["start the daemon zfs-fuse", "zpool import"]),
        ("/mnt", "gone/docker", ["gone/docker", "zpool import POOL", "zfs.fsname"]),
        ("/mnt", "-r", ["'-r' is no name of a dataset"]),
        ("/mnt", "tank/../small", ["is no name of a dataset"]),
    ],
)
def test_what_is_missing_is_said_before_any_work(
    hidden: str, option: str, messages: list[str], pool: Pool, root: Path
) -> None:
    script = f'mount -t tmpfs none {hidden}; exec "$@"'
    hiding = ("unshare", "--mount", "sh", "-c", script, "sh")
    run = on(pool, "migrate", root, option, wrapper=hiding)
    assert run.returncode == 1
    for message in messages:
        assert message in run.stderr
    assert not (root / ".migrator").exists()


def test_a_data_root_elsewhere_needs_the_option(pool: Pool, root: Path) -> None:
    run = migrator("migrate", "-g", root, wrapper=pool.wrapper)
    assert run.returncode == 1
    assert "not on zfs" in run.stderr
    assert "--storage-opt zfs.fsname=POOL/DATASET" in run.stderr


def kernel_with_zfs(directory: Path) -> str:
    """The beginning of a script that lets a kernel without zfs seem to have it."""
    (directory / "filesystems").write_text("nodev\tzfs\n")
    return f"mount --bind {directory}/filesystems /proc/filesystems"


def test_with_openzfs_what_is_mounted_is_bound_aside(
    pool: Pool, small: Built, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    pool.lay_out(small.root, "vfs", "tank/bound", root)
    for v1_id in small.v1_ids:
        pool.run("zfs", "set", f"mountpoint={root}/zfs/{v1_id}", f"tank/bound/{v1_id}")
    script = f'{kernel_with_zfs(tmp_path)} && exec "$@"'

    before = pool.properties("tank/bound")
    run = on(
        pool,
        "migrate",
        root,
        "tank/bound",
        wrapper=("unshare", "--mount", "sh", "-c", script, "sh"),
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert diff_ids(root) == {*small.diff_ids}
    assert pool.properties("tank/bound") == before


# What OpenZFS prints, and what its mount does, as far as a test needs it.
FAKE_ZFS = """#!/bin/sh
echo "zfs $*" >> "$LOG"
cat "$TABLE"
"""
FAKE_MOUNT = """#!/bin/sh
echo "mount $*" >> "$LOG"
[ "$4 $5" = "-o ro" ] && exec /bin/mount --bind "$TREES/${6##*/}" "$7"
echo "filesystem '$6' cannot be mounted: Input/output error" >&2
exit 1
"""


def test_with_openzfs_the_kernel_mounts_aside(tmp_path: Path) -> None:
    built = build(Store("vfs", layers=(*line(2), *line(1))), tmp_path / "vfs")
    root, log, table = tmp_path / "root", tmp_path / "log", tmp_path / "table"
    Pool.metadata(built.root, "vfs", root)
    broken = built.v1_ids[2]
    for dataset in ("", *(f"/{v1_id}" for v1_id in built.v1_ids)):
        mountpoint = "/broken" if dataset == f"/{broken}" else "legacy"
        with table.open("a") as file:
            file.write(f"tank/docker{dataset}\ttype\tfilesystem\t-\n")
            file.write(f"tank/docker{dataset}\tmounted\tno\t-\n")
            file.write(f"tank/docker{dataset}\tmountpoint\t{mountpoint}\tlocal\n")
            file.write(f"tank/docker{dataset}\treadonly\toff\tdefault\n")
            file.write(f"tank/docker{dataset}\t{RESTORE}\t-\t-\n")
    for name, script in (("zfs", FAKE_ZFS), ("mount", FAKE_MOUNT)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    # What is mounted outside of migrator's own namespace is seen at the end.
    script = f'{kernel_with_zfs(tmp_path)}; PATH={tmp_path}:$PATH; "$@"; cat /proc/self/mountinfo'

    run = migrator(
        *("migrate", "-g", root, "--storage-opt", "zfs.fsname=tank/docker", "--progress", "none"),
        env={"LOG": str(log), "TABLE": str(table), "TREES": str(built.root / "vfs/dir")},
        wrapper=("unshare", "--mount", "sh", "-c", script, "sh"),
    )

    assert run.stderr == ""
    printed, mounts = run.stdout.split(" / ", 1)
    assert f"tank/docker/{broken}: mount: filesystem" in printed
    assert str(DIRECTORY) not in mounts
    assert diff_ids(root) == {*built.diff_ids[:2]}
    commands = log.read_text().splitlines()
    assert {command for command in commands if command.startswith("mount")} == {
        f"mount -n -t zfs -o {options} tank/docker/{v1_id} {DIRECTORY}/tank/docker/{v1_id}/root"
        for v1_id, options in zip(built.v1_ids, ("ro", "ro", "ro,zfsutil"), strict=True)
    }
    # Nothing is changed there.
    assert {command.split()[1] for command in commands if command.startswith("zfs")} == {"get"}
