"""Mappings, images and the order of layers: by themselves, without mounting anything."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.drivers.thinpool import loop
from migrator.drivers.thinpool import mapping as mappings
from migrator.drivers.thinpool.image import PREFIX, Image
from migrator.drivers.thinpool.location import DATA, METADATA, POOL, PoolPlace, find_pool, users
from migrator.drivers.thinpool.loop import LoopDevice
from migrator.drivers.thinpool.mapping import Mapping, Run, changed, distinct_data, extent, unmapped
from migrator.drivers.thinpool.order import BranchOrder, Change
from migrator.drivers.thinpool.pool import Device, ThinPool
from migrator.drivers.thinpool.superblock import Superblock
from migrator.errors import DriverError, LayerError

BLOCK = 64 << 10

Blocks = dict[int, int]


def runs_of(blocks: Blocks, split: int = 1000) -> Mapping:
    """The mapping of single blocks as runs of `split` blocks at most."""
    runs: list[list[int]] = []
    for origin, block in sorted(blocks.items()):
        last = runs[-1] if runs else None
        if last and last[2] < split and (origin, block) == (last[0] + last[2], last[1] + last[2]):
            last[2] += 1
        else:
            runs.append([origin, block, 1])
    return Mapping((origin, block, length) for origin, block, length in runs)


def blocks_of(runs: Iterator[Run] | list[Run] | Mapping) -> Blocks:
    return {
        origin + index: block + index for origin, block, length in runs for index in range(length)
    }


# Few data blocks, so that devices share some, and long runs.
devices = st.builds(
    lambda start, shift, holes: {n: n + shift for n in range(start, start + 12) if n not in holes},
    st.integers(0, 9),
    st.sampled_from([0, 0, 0, 5, 20]),
    st.sets(st.integers(0, 20), max_size=6),
)


@given(devices, devices, st.integers(1, 4))
def test_differences_of_devices(new: Blocks, old: Blocks, split: int) -> None:
    new_runs, old_runs = runs_of(new, split), runs_of(old)
    assert blocks_of(changed(new_runs, old_runs)) == dict(new.items() - old.items())
    assert blocks_of(unmapped(new_runs, old_runs)).keys() == old.keys() - new.keys()
    assert extent([new_runs, old_runs]) == len(new.keys() | old.keys())
    assert distinct_data([new_runs, old_runs]) == len({*new.values(), *old.values()})


def test_mapping_tells_its_faults() -> None:
    good = Mapping([(0, 7, 2), (2, 9, 1), (5, 3, 4)])
    assert (good.blocks, good.end, good.fault, good.first_overlap()) == (7, 9, None, None)
    assert Mapping([(0, 7, 2), (1, 20, 1)]).fault
    assert Mapping([(0, 7, 0)]).fault
    assert Mapping([(0, 1 << 32, 1)]).fault
    assert Mapping([(0, 7, 2), (2, 8, 1)]).first_overlap() == 8


def dumping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Have `thin_dump` be a shell script."""
    program = tmp_path / "thin_dump"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


SHARED = """<superblock uuid="" time="1" transaction="2" version="2" data_block_size="128"
 nr_data_blocks="99"><def name="0"><range_mapping origin_begin="4" data_begin="10" length="3"
 time="0"/></def><device dev_id="1" mapped_blocks="4" transaction="0" creation_time="0"
 snap_time="0"><single_mapping origin_block="0" data_block="5" time="0"/><ref name="0"/></device>
 <device dev_id="7" mapped_blocks="3" transaction="0" creation_time="0" snap_time="0">
 <ref name="0"/></device></superblock>"""


def test_dump_with_shared_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dumping(tmp_path, monkeypatch, f"cat <<'E'\n{SHARED}\nE")
    found = mappings.read_mappings(tmp_path / "metadata", None)
    assert {number: list(mapping) for number, mapping in found.items()} == {
        1: [(0, 5, 1), (4, 10, 3)],
        7: [(4, 10, 3)],
    }


@pytest.mark.parametrize(
    "printed",
    ["", "<superblock>", "&", "<superblock><device dev_id='1'/></superblock>", SHARED[:-30]]
    + [SHARED.replace('"4"', f'"{number}"', 1) for number in ("x", "", "0x1", "1" * 5000)]
    + [SHARED.replace('<ref name="0"', '<ref name="9"', 1)],
)
def test_dump_that_makes_no_sense(
    printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumping(tmp_path, monkeypatch, f"cat <<'E'\n{printed}\nE")
    with pytest.raises(DriverError, match="metadata is damaged"):
        mappings.read_mappings(tmp_path / "metadata", None)


def test_dump_without_end_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "_MOST_RUNS", 1000)
    endless = "<single_mapping origin_block='%d' data_block='1'/>"
    dumping(tmp_path, monkeypatch, f'echo "<d>"; seq -f "{endless.replace("%d", "%.0f")}" 1 1e9')
    with pytest.raises(DriverError, match="more than 1000"):
        mappings.read_mappings(tmp_path / "metadata", None)


def test_only_a_thin_pools_metadata_will_do(tmp_path: Path) -> None:
    file = tmp_path / "metadata"
    good = bytearray(4096)
    struct.pack_into("<Q", good, 32, 27022010)
    struct.pack_into("<Q", good, 56, 5)
    struct.pack_into("<I", good, 336, 128)
    file.write_bytes(good)
    assert Superblock.read(file) == Superblock(64 << 10, 5)
    for bad in (b"", bytes(4096), good[:336] + b"\x81" + good[337:], good[:336] + bytes(4)):
        file.write_bytes(bad)
        with pytest.raises(DriverError):
            Superblock.read(file)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ThinPool]:
    """A pool of 40 blocks, each of one byte's value; device 1 has a block beyond their end."""
    with (tmp_path / "data").open("wb") as data:
        for number in range(40):
            data.write(bytes([number + 1]) * BLOCK)
    xml = tmp_path / "xml"
    xml.write_text(
        '<superblock uuid="" time="0" transaction="1" flags="0" version="2" data_block_size="128"'
        ' nr_data_blocks="50"><device dev_id="1" mapped_blocks="1" transaction="0"'
        ' creation_time="0" snap_time="0"><single_mapping origin_block="0" data_block="40"'
        ' time="0"/></device></superblock>'
    )
    metadata = tmp_path / "metadata"
    metadata.write_bytes(bytes(1 << 20))
    subprocess.run(["thin_restore", "-i", xml, "-o", metadata], check=True, capture_output=True)
    pool = ThinPool(PoolPlace(tmp_path / "data", metadata), snapshot=False)
    yield pool
    pool.close()


def content(image: Image, count: int) -> list[int]:
    """What each of the blocks of an image is full of."""
    data = os.pread(image.fd, 2 * count * BLOCK, 0)
    assert len(data) == count * BLOCK
    values = [data[number * BLOCK] for number in range(count)]
    assert data == b"".join(bytes([value]) * BLOCK for value in values)
    return values


@pytest.mark.parametrize("roomy", [False, True])
def test_image_becomes_one_device_after_another(
    roomy: bool, pool: ThinPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    reads = watch(pool, monkeypatch)
    images = [Image(tmp_path, BLOCK, roomy=roomy) for _ in range(2)]
    assert not list(tmp_path.glob("migrator-image-*"))
    held: list[Blocks] = [{}, {}]
    for number in range(30):
        data = chance.sample(range(40), 16)
        wanted = dict(zip(chance.sample(range(24), 16), data, strict=True))
        turn = number % 2
        # Like a snapshot: most of it is what one of the images has.
        wanted = {**{o: b for o, b in held[turn ^ chance.randrange(2)].items() if o % 3}, **wanted}
        blocks = 20 + max(0, max(wanted) - 19)
        device = Device(number, blocks, runs_of(wanted))
        reads.clear()
        images[turn].become(device, pool, [images[turn ^ 1]])
        assert content(images[turn], blocks) == [
            wanted[n] + 1 if n in wanted else 0 for n in range(blocks)
        ]
        missing = wanted.items() - held[0].items() - held[1].items()
        assert sum(reads) == len(missing) * BLOCK
        held[turn] = wanted
        if not roomy:
            assert os.fstat(images[turn].fd).st_blocks * 512 <= (len(wanted) + 1) * BLOCK
    copy = images[0].copy()
    size = os.fstat(images[0].fd).st_size // BLOCK
    assert content(copy, size) == content(images[0], size)
    for image in (*images, copy):
        image.close()


def watch(pool: ThinPool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The amounts that are read from the pool's data from now on."""
    amounts: list[int] = []
    copy, preadv = os.copy_file_range, os.preadv

    def copying(source: int, *rest: int) -> int:
        done = copy(source, *rest)
        amounts.extend([done] if source == pool.data else [])
        return done

    def reading(source: int, *rest: object) -> int:
        done = preadv(source, *rest)  # type: ignore[call-overload]
        amounts.extend([done] if source == pool.data else [])
        return done

    monkeypatch.setattr(os, "copy_file_range", copying)
    monkeypatch.setattr(os, "preadv", reading)
    return amounts


def test_devices_that_are_not_certain(pool: ThinPool) -> None:
    for number, runs in {
        2: [(0, 3, 1), (5, 3, 1)],
        3: [(0, 3, 1), (20, 4, 1)],
        4: [(0, 1 << 40, 1)],
    }.items():
        pool._mappings[number] = Mapping(runs)
    for number, reason in {
        1: "device 1 has data at block 40, where the pool's data have ended",
        2: "device 2 has data block 3 in two places",
        3: "device 3 is mapped as far as block 21, its record says it has 20",
        4: "device 4 is mapped to numbers that no pool has",
        5: "device 5 is not in the thin pool",
    }.items():
        with pytest.raises(LayerError, match=reason):
            pool.device(number, 20 * BLOCK)


def test_failed_attempt_leaves_nothing_of_it(pool: ThinPool, tmp_path: Path) -> None:
    image = Image(tmp_path, BLOCK, roomy=False)
    pool._mappings[2] = Mapping([(0, 0, 9), (9, 39, 1)])
    pool._mappings[3] = Mapping([(3, 7, 1)])
    device = pool.device(2, 10 * BLOCK)
    os.truncate(f"/proc/self/fd/{pool.data}", 30 * BLOCK)
    with pytest.raises(LayerError, match="data have ended before byte"):
        image.become(device, pool)
    image.become(pool.device(3, 10 * BLOCK), pool)
    assert content(image, 10) == [0, 0, 0, 8, 0, 0, 0, 0, 0, 0]
    image.close()


@pytest.mark.parametrize("configure", [loop._CONFIGURE, 0x4CFF], ids=["at once", "old kernels"])
@pytest.mark.root
def test_loop_device_shows_what_the_image_has_become(
    configure: int, pool: ThinPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_CONFIGURE", configure)
    image = Image(tmp_path, BLOCK, roomy=False)
    device = LoopDevice(image.fd, read_only=True)
    directory = Path("/sys/block", device.path.name)
    for blocks, wanted in (
        (9, {n: n for n in range(9)}),
        (9, {n: n + 20 for n in range(5)}),
        (12, {n: n for n in range(3, 12)}),
        (4, {2: 7}),
    ):
        image.become(Device(2, blocks, runs_of(wanted)), pool)
        device.refresh()
        # All of it, so that all of it is in the device's cache from now on.
        shown = device.path.read_bytes()
        assert shown == os.pread(image.fd, 100 * BLOCK, 0)
        assert len(shown) == blocks * BLOCK
    assert (directory / "ro").read_text() == "1\n"
    assert (directory / "loop/autoclear").read_text() == "1\n"
    image.close()
    device.close()
    assert not (directory / "loop").exists()


@pytest.mark.root
def test_what_killed_runs_left_is_cleared(tmp_path: Path) -> None:
    """An image before it lost its name; on old kernels a loop device just attached."""
    for name in (f"{PREFIX}1", f"{PREFIX}2", "other"):
        (tmp_path / name).write_bytes(bytes(BLOCK))
    devices = [
        subprocess.run(
            ["losetup", "--find", "--show", tmp_path / name], check=True, capture_output=True
        )
        .stdout.decode()
        .strip()
        for name in (f"{PREFIX}1", "other")
    ]
    (tmp_path / f"{PREFIX}1").unlink()
    loop.clear_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["other"]
    assert [Path("/sys/block", Path(d).name, "loop").exists() for d in devices] == [False, True]
    subprocess.run(["losetup", "--detach", devices[1]], check=True)


class Tree:
    """Layers' devices made at random, as snapshots of one another."""

    def __init__(self, seed: int, layers: int) -> None:
        chance = random.Random(seed)
        self.parents: dict[str, str | None] = {}
        self.devices: dict[str, Blocks] = {}
        free = 0
        for number in range(layers):
            parent = chance.choice([*self.parents, None]) if number % 5 else None
            blocks = dict(self.devices[parent]) if parent else {}
            for origin in chance.sample(range(60), chance.randrange(0, 25)):
                blocks[origin], free = free, free + 1
            name = f"{number:03}"
            self.parents[name], self.devices[name] = parent, blocks
        self.distinct = len({b for blocks in self.devices.values() for b in blocks.values()})

    def order(self) -> BranchOrder:
        changes = {}
        for name, parent in self.parents.items():
            own, below = self.devices[name], self.devices.get(parent or "", {})
            changes[name] = Change(
                len(own.items() - below.items()), len(below.items() - own.items())
            )
        return BranchOrder(self.parents, changes, self.distinct)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 40))
def test_no_order_reads_more_than_twice_what_there_is(seed: int, workers: int, layers: int) -> None:
    tree, chance = Tree(seed, layers), random.Random(seed)
    order, waiting = tree.order(), list(tree.parents)
    images: list[Blocks] = [{} for _ in range(workers)]
    last: list[str | None] = [None] * workers
    busy: dict[int, str] = {}
    read, most = 0, 0
    while waiting or busy:
        for worker in range(workers):
            if worker not in busy and waiting:
                chosen = order(last[worker], waiting)
                if chosen is None:
                    # Somebody must be at work on what this one waits for.
                    assert busy or worker + 1 < workers
                    continue
                name = waiting.pop(chosen)
                parent = tree.parents[name]
                assert parent not in (*waiting, *busy.values())
                read += len(tree.devices[name].items() - images[worker].items())
                images[worker], busy[worker] = tree.devices[name], name
        most = max(most, len(busy))
        done = chance.choice(list(busy))
        last[done] = busy.pop(done)
    assert read <= 2 * tree.distinct


def test_branches_are_read_in_parallel() -> None:
    parents = {"base": None, "a": "base", "b": "base", "a1": "a", "b1": "b"}
    changes = {name: Change(10, 1) for name in parents}
    order = BranchOrder(parents, changes, 50)
    waiting = ["b1", "a1", "b", "a", "base"]

    def take(last: str | None) -> str | None:
        chosen = order(last, waiting)
        return None if chosen is None else waiting.pop(chosen)

    assert take(None) == "base"
    assert take(None) is None
    first = take("base")
    second = take(None)
    assert {first, second} == {"a", "b"}
    assert take(first) == f"{first}1"
    assert take(second) == f"{second}1"


def fake_sys(root: Path, slaves: dict[str, list[str]], names: dict[str, str]) -> Path:
    """A /sys in which these devices of /dev consist of others."""
    for name, below in slaves.items():
        number = Path(f"/dev/{name}").stat().st_rdev
        directory = root / f"dev/block/{os.major(number)}:{os.minor(number)}"
        for part in below:
            (directory / "slaves" / part).mkdir(parents=True)
        (root / "block" / name / "dm").mkdir(parents=True)
        (root / "block" / name / "dm/name").write_text(f"{names.get(name, name)}\n")
    for name, below in slaves.items():
        for part in below:
            number = Path(f"/dev/{part}").stat().st_rdev
            holders = root / f"dev/block/{os.major(number)}:{os.minor(number)}/holders"
            (holders / name).mkdir(parents=True)
    return root


@pytest.fixture
def loops(tmp_path: Path) -> Iterator[list[str]]:
    """Four loop devices; the third one shows a thin pool's metadata."""
    names = []
    for number in range(4):
        file = tmp_path / f"loop{number}"
        content = bytearray(1 << 20)
        if number == 2:
            struct.pack_into("<Q", content, 32, 27022010)
            struct.pack_into("<I", content, 336, 128)
        file.write_bytes(content)
        shown = subprocess.run(
            ["losetup", "--find", "--show", file], check=True, capture_output=True, text=True
        )
        names.append(shown.stdout.strip().removeprefix("/dev/"))
    yield names
    for name in names:
        subprocess.run(["losetup", "--detach", f"/dev/{name}"], check=True)


@pytest.mark.root
def test_parts_of_a_pool_of_the_kernels(tmp_path: Path, loops: list[str]) -> None:
    top, inner, metadata, data = loops
    sys = fake_sys(
        tmp_path / "sys",
        {top: [inner], inner: [data, metadata], metadata: [], data: []},
        {top: "docker-pool", inner: "docker-pool-tpool"},
    )
    place = find_pool(tmp_path, {POOL: f"/dev/{top}"}, sys)
    assert place == PoolPlace(Path("/dev", data), Path("/dev", metadata))
    assert users(place, sys) == ["docker-pool-tpool"]
    assert users(PoolPlace(Path("/dev", top), Path("/dev", top)), sys) == []
    with pytest.raises(DriverError, match="is no thin pool"):
        find_pool(tmp_path, {POOL: f"/dev/{data}"}, sys)


@pytest.mark.root
def test_files_that_a_loop_device_shows_to_a_pool(tmp_path: Path, loops: list[str]) -> None:
    data, metadata = tmp_path / "loop0", tmp_path / "loop2"
    sys = tmp_path / "sys"
    backing = sys / "block" / loops[0] / "loop/backing_file"
    backing.parent.mkdir(parents=True)
    backing.write_text(f"{data}\n")
    assert users(PoolPlace(data, metadata), sys) == []
    (sys / "block" / loops[0] / "holders/dm-3").mkdir(parents=True)
    assert users(PoolPlace(data, metadata), sys) == ["dm-3"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {DATA: "/dev/null"},
        {METADATA: "/dev/null"},
        {DATA: "/dev/null", METADATA: "/dev/null"},
        {POOL: "no-such-pool"},
        {POOL: "/dev/null"},
        {POOL: "/dev/loop0", DATA: "/dev/loop0"},
    ],
)
def test_pools_that_are_not_there(options: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DriverError):
        find_pool(tmp_path, options)
