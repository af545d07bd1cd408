"""Damaged pools: what concerns a layer is said of it, the others migrate, nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from legacy_fixtures.build import Built
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.commands.verify import verify
from migrator.errors import DriverError
from tests.command import migrator
from tests.stores.thinstore import BLOCK, diff_ids, dump_pool, left_over, mounts, thin_store

# The one that is damaged, and it with what builds on it.
VICTIM = 1
LOST = {1, 2}


@dataclass(frozen=True)
class Store:
    """A copy of a store, and the diffIDs by v1 ID of the undamaged one."""

    root: Path
    built: Built
    expected: dict[str, str]

    @property
    def pool(self) -> Path:
        return self.root / "devicemapper/devicemapper"

    def record(self, index: int) -> Path:
        return self.root / "devicemapper/metadata" / self.built.v1_ids[index]

    def number(self, index: int) -> int:
        number: int = json.loads(self.record(index).read_text())["device_id"]
        return number

    def own_blocks(self, index: int) -> dict[int, int]:
        """The blocks that no device has but a layer's, and those that build on it."""
        devices = dump_pool(self.pool / "metadata")
        below = self.built_parent(index)
        return dict(
            devices[self.number(index)].items()
            - (devices[self.number(below)].items() if below is not None else set())
        )

    def built_parent(self, index: int) -> int | None:
        return {0: None, 1: 0, 2: 1, 3: 0, 4: 3}[index]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Store:
    directory = tmp_path_factory.mktemp("original")
    built = thin_store(directory / "root")
    subprocess.run(["cp", "-a", directory / "root", directory / "migrated"], check=True)
    migration.migrate(directory / "migrated", workers=0)
    return Store(directory / "root", built, diff_ids(directory / "migrated"))


@pytest.fixture
def store(original: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    root, work = tmp_path / "root", tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("TMPDIR", str(work))
    subprocess.run(["cp", "-a", original.root, root], check=True)
    yield Store(root, original.built, original.expected)
    assert not left_over(work)
    assert not os.listdir(work)
    assert not mounts()


def check(store: Store, reason: str, lost: set[int] = LOST) -> None:
    """Migrate; the layers that were not lost are as ever, and why the others are is said."""
    summary = migration.migrate(store.root, workers=0)
    ids = store.built.v1_ids
    assert summary.exit_code == 3
    assert diff_ids(store.root) == {
        v1_id: diff_id
        for v1_id, diff_id in store.expected.items()
        if v1_id not in {ids[index] for index in lost}
    }
    said = {problem.name: problem.reason for problem in summary.problems}
    assert reason in said[ids[min(lost)]]
    assert {ids[index] for index in lost} <= said.keys()
    assert not verify(store.root, workers=0).findings


def test_data_cut_off(store: Store) -> None:
    # The last layer built has the last blocks.
    last = max(range(5), key=lambda index: max(store.own_blocks(index).values()))
    lost = {last} if last in (2, 4) else {last, last + 1}
    os.truncate(store.pool / "data", max(store.own_blocks(last).values()) * BLOCK + 1000)
    check(store, f"thin device {store.number(last)} has data at block", lost)


def test_metadata_with_a_flipped_bit(store: Store) -> None:
    """Wherever it is, no layer comes out wrong; most places cost one layer at most."""
    metadata = store.pool / "metadata"
    content = bytearray(metadata.read_bytes())
    partial = 0
    for block in range(1, len(content) // 4096):
        if not any(content[block * 4096 :][:4096]):
            continue
        content[block * 4096 + 2000] ^= 4
        metadata.write_bytes(content)
        content[block * 4096 + 2000] ^= 4
        try:
            summary = migration.migrate(store.root, workers=0)
        except DriverError as error:
            assert "metadata is damaged" in str(error)
            continue
        assert diff_ids(store.root).items() <= store.expected.items()
        if summary.exit_code:
            partial += 1
            assert any("damaged in the pool's metadata" in p.reason for p in summary.problems)
        rollback(store.root)
    # The base device's mapping concerns no layer.
    assert partial == 5


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"device_id": 99}, "thin device 99 is not in the thin pool"),
        ({"device_id": 1 << 30}, "has no usable device_id"),
        ({"device_id": True}, "has no usable device_id"),
        ({"device_id": None}, "has no usable device_id"),
        ({"size": -1}, "has no usable size"),
        ({"size": 0}, "its record says it has 0"),
        ({"size": 1 << 20}, "its record says it has 16"),
        ({"size": (1 << 63) - 1}, "its record says it has 140737488355328"),
        ({"size": 1e400}, "is no JSON"),
        ({"size": "x" * 5000}, "has more than 4096 bytes"),
    ],
)
def test_record_that_is_not_true(record: dict[str, object], reason: str, store: Store) -> None:
    path = store.record(VICTIM)
    path.write_text(json.dumps({**json.loads(path.read_text()), **record}))
    check(store, reason)


@pytest.mark.parametrize(
    ("content", "reason"), [("", "is no JSON"), ("[]", "no JSON object"), ("[" * 4000, "no JSON")]
)
def test_record_that_is_none(content: str, reason: str, store: Store) -> None:
    store.record(VICTIM).write_text(content)
    check(store, reason)


def test_record_that_is_missing(store: Store) -> None:
    store.record(VICTIM).unlink()
    check(store, "is missing")


def test_record_of_another_layer(store: Store) -> None:
    store.record(VICTIM).write_text(store.record(3).read_text())
    check(store, "is recorded for other layers, too", {1, 2, 3, 4})


def test_file_system_that_does_not_mount(store: Store) -> None:
    block = store.own_blocks(VICTIM)[0]
    with (store.pool / "data").open("r+b") as data:
        # The superblock, in all but its magic number.
        data.seek(block * BLOCK + 1024)
        data.write(b"\xff" * 56)
    check(store, "its ext4 file system cannot be mounted", {1, 2})


def test_device_that_holds_no_file_system(store: Store) -> None:
    block = store.own_blocks(VICTIM)[0]
    with (store.pool / "data").open("r+b") as data:
        data.seek(block * BLOCK)
        data.write(bytes(4096))
    check(store, "holds neither ext4 nor xfs")


def test_data_that_belong_to_two_blocks(store: Store, tmp_path: Path) -> None:
    metadata = store.pool / "metadata"
    xml = subprocess.run(["thin_dump", metadata], check=True, capture_output=True, text=True).stdout
    head, mark, rest = xml.partition(f'dev_id="{store.number(VICTIM)}" mapped_blocks="')
    count, _, rest = rest.partition('"')
    extra = f'<single_mapping origin_block="1000" data_block="{store.own_blocks(1)[0]}" time="0"/>'
    (tmp_path / "xml").write_text(
        head + mark + f'{int(count) + 1}"' + rest.replace("</device>", extra + "</device>", 1)
    )
    restore = ["thin_restore", "-i", tmp_path / "xml", "-o", metadata]
    subprocess.run(restore, check=True, capture_output=True)
    check(store, f"has data block {store.own_blocks(1)[0]} in two places")


@pytest.mark.parametrize(
    "content", [b"", bytes(1 << 20), b"x" * (1 << 20)], ids=["empty", "zeros", "no metadata"]
)
def test_no_metadata_at_all(content: bytes, store: Store) -> None:
    (store.pool / "metadata").write_bytes(content)
    run = migrator("migrate", "-g", store.root)
    assert (run.returncode, "holds no thin pool's metadata" in run.stderr) == (1, True)
