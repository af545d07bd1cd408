"""What is hashed once is not hashed again, and only then: the journal."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legacy_fixtures.build import Built, Store, build, line
from migrator.commands import checksums as checksumming
from migrator.commands import migrate as migration
from migrator.layer.digest import HashedLayer, LayerDigest, Method
from migrator.state import journal
from migrator.state.journal import Journal
from migrator.text import count
from tests.command import dump, migrator, snapshot
from tests.crash.faults import Fault, run
from tests.crash.scenarios import copy

LAYERS = 8
HALF = 4


@pytest.fixture(params=[True, False], ids=["records", "no records"])
def built(request: pytest.FixtureRequest, memory: Path) -> Built:
    return build(Store("vfs", line(LAYERS), records=request.param), memory / "root")


@pytest.fixture
def interrupted(built: Built, monkeypatch: pytest.MonkeyPatch) -> Built:
    """A store whose migration was killed when half of the layers were in the journal."""
    monkeypatch.setattr(journal, "_COMMIT_EVERY", 0)
    commit = f"commit done {built.root}/.migrator/journal.db"
    copy(built.root, other := built.root.with_name("other"))
    points = run(["migrate", "-g", other]).points
    commits = [n for n, p in enumerate(points) if p == commit.replace("/root/", "/other/")]
    shutil.rmtree(other)
    ended = run(["migrate", "-g", built.root], fault=Fault.KILL, point=commits[HALF - 1])
    assert ended.code == -9
    return built


def kept_and_hashed(root: Path, report: Path) -> tuple[set[str], set[str]]:
    """Migrate; which layers the report says were kept, and which were hashed."""
    ended = migrator("migrate", "-g", root, "--report", report, "--progress", "none")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(report.read_text())
    kept = {layer["v1_id"] for layer in document["layers"] if layer["kept"]}
    hashed = {layer["v1_id"] for layer in document["layers"] if not layer["kept"]}
    assert document["layers_kept"] == len(kept)
    assert document["bytes"] == sum(x["tar_bytes"] for x in document["layers"] if not x["kept"])
    told = f"kept        {count(len(kept), 'layer')} hashed by an earlier run"
    assert (told in ended.stdout) is bool(kept)
    return kept, hashed


def reference(built: Built, memory: Path) -> dict[str, Any]:
    """What comes out without a journal."""
    copy(built.root, other := memory / "undisturbed")
    shutil.rmtree(other / ".migrator", ignore_errors=True)
    migration.migrate(other, workers=0)
    return dump(other, "vfs")


def test_only_the_other_half_is_hashed(interrupted: Built, memory: Path) -> None:
    expected = reference(interrupted, memory)
    kept, hashed = kept_and_hashed(interrupted.root, memory / "report")
    assert (len(kept), len(hashed)) == (HALF, LAYERS - HALF)
    assert kept | hashed == set(interrupted.v1_ids)
    assert dump(interrupted.root, "vfs") == expected


def touch_file(built: Built, v1_id: str) -> None:
    next((built.root / "vfs/dir" / v1_id).glob(f"d{built.v1_ids.index(v1_id)}-*/file2")).touch()


def replace_file(built: Built, v1_id: str) -> None:
    file = next((built.root / "vfs/dir" / v1_id).glob("d*/file2"))
    status = file.stat()
    (copied := file.with_name("copied")).write_bytes(file.read_bytes())
    shutil.copystat(file, copied)
    copied.replace(file)
    assert file.stat().st_mtime_ns == status.st_mtime_ns


@pytest.mark.parametrize("change", [touch_file, replace_file])
def test_a_changed_file_is_hashed_again(
    change: Callable[[Built, str], None], built: Built, memory: Path
) -> None:
    checksumming.checksums(built.root, workers=0)
    change(built, built.v1_ids[-1])
    expected = reference(built, memory)
    kept, hashed = kept_and_hashed(built.root, memory / "report")
    assert hashed == {built.v1_ids[-1]}
    assert kept == set(built.v1_ids[:-1])
    assert dump(built.root, "vfs") == expected


def test_hashing_again_leaves_what_links_to_the_old_record(memory: Path) -> None:
    built = build(Store("vfs", line(2), records=False), memory / "root")
    checksumming.checksums(built.root, workers=0)
    left = built.root / "graph" / built.v1_ids[1] / ".migration-tardata"
    before = left.read_bytes()
    next((built.root / "vfs/dir" / built.v1_ids[1]).glob("d1-*/file2")).write_text("changed")
    migration.migrate(built.root, workers=0)
    assert left.read_bytes() == before


def test_a_new_record_is_hashed_from(memory: Path) -> None:
    built = build(Store(layers=line(2)), memory / "root")
    record = built.root / "graph" / built.v1_ids[1] / "tar-data.json.gz"
    good = record.read_bytes()
    record.write_bytes(good[:50])
    summary = checksumming.checksums(built.root, workers=0)
    assert [layer.method for layer in summary.layers].count("recomputed") == 1
    record.write_bytes(good)
    _, hashed = kept_and_hashed(built.root, memory / "report")
    assert hashed == {built.v1_ids[1]}
    layers = dump(built.root, "overlay")["layers"]
    assert {layer["diff"] for layer in layers.values()} == set(built.diff_ids)


def test_a_fault_may_name_a_file_that_is_no_text(memory: Path) -> None:
    built = build(Store(layers=line(1), tags={"base:1": 0}), memory / "root")
    entry = {"type": 1, "name_raw": "/w==", "size": 3, "payload": "AAAAAAAAAAA=", "position": 0}
    record = built.root / "graph" / built.v1_ids[0] / "tar-data.json.gz"
    record.write_bytes(gzip.compress(json.dumps(entry).encode()))
    summary = checksumming.checksums(built.root, workers=0)
    assert (summary.layers[0].fault or "").startswith("\\xff: ")
    assert kept_and_hashed(built.root, memory / "report")[0] == set(built.v1_ids)


def test_what_checksums_hashed_is_kept(built: Built, memory: Path) -> None:
    checksumming.checksums(built.root, workers=0)
    kept, hashed = kept_and_hashed(built.root, memory / "report")
    assert (kept, hashed) == (set(built.v1_ids), set())


def test_helper_files_of_others_are_not_trusted(built: Built, memory: Path) -> None:
    expected = reference(built, memory)
    for v1_id in built.v1_ids:
        graph = built.root / "graph" / v1_id
        (graph / ".migration-diffid").write_text("sha256:" + 64 * "0")
        (graph / ".migration-size").write_text("1")
        (graph / ".migration-tardata").write_bytes(b"")
    assert kept_and_hashed(built.root, memory / "report")[0] == set()
    assert dump(built.root, "vfs") == expected


def test_a_copied_data_root_is_hashed_anew(interrupted: Built, memory: Path) -> None:
    expected = reference(interrupted, memory)
    copy(interrupted.root, other := memory / "moved")
    assert kept_and_hashed(other, memory / "report")[0] == set()
    assert dump(other, "vfs") == expected


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0", bytes(5000), None])
def test_a_damaged_journal_costs_only_time(
    damage: bytes | None, interrupted: Built, memory: Path
) -> None:
    path = interrupted.root / ".migrator/journal.db"
    path.write_bytes(path.read_bytes()[:5000] if damage is None else damage)
    expected = reference(interrupted, memory)
    assert kept_and_hashed(interrupted.root, memory / "report")[0] == set()
    assert dump(interrupted.root, "vfs") == expected


def layer(number: int) -> HashedLayer:
    digest = LayerDigest(f"sha256:{number:064x}", number, number + 1, 2, 3, f"{number:064x}")
    fault = None if number % 2 else "no ü use"
    return HashedLayer(f"{number:064x}", digest, Method.RECORD, fault, 0.5, kept=True)


@pytest.fixture
def full_journal(memory: Path) -> Path:
    path = memory / "journal.db"
    with Journal(path) as opened:
        for number in range(20):
            opened.add(layer(number))
    return path


def read(path: Path) -> dict[str, HashedLayer]:
    with Journal(path) as opened:
        return opened.layers()


def test_gives_back_what_it_was_given(full_journal: Path) -> None:
    assert read(full_journal) == {layer(number).v1_id: layer(number) for number in range(20)}


def test_no_flipped_bit_makes_another_layer(full_journal: Path) -> None:
    good, layers = full_journal.read_bytes(), read(full_journal)
    lost = 0
    for position in range(0, len(good), 61):
        flipped = bytearray(good)
        flipped[position] ^= 1 << position % 8
        full_journal.write_bytes(flipped)
        found = read(full_journal)
        assert found.items() <= layers.items()
        lost += found != layers
        with Journal(full_journal) as opened:
            opened.add(layer(99))
        assert read(full_journal)[layer(99).v1_id] == layer(99)
    assert lost


def test_a_journal_of_another_version_is_dropped(full_journal: Path) -> None:
    with sqlite3.connect(full_journal) as database:
        database.execute("PRAGMA user_version = 99")
    assert read(full_journal) == {}


def test_a_state_directory_that_is_none(built: Built) -> None:
    (built.root / ".migrator").symlink_to("/nowhere")
    before = snapshot(built.root)
    ended = migrator("migrate", "-g", built.root)
    assert ended.returncode == 1
    assert ".migrator: is not a directory but a symbolic link" in ended.stderr
    assert snapshot(built.root) == before


def test_a_schema_that_is_neither_sql_nor_text(full_journal: Path) -> None:
    data = full_journal.read_bytes()
    assert data.count(b"CREATE TABLE layer") == 1
    full_journal.write_bytes(data.replace(b"CREATE TABLE layer", b"CREATE T\x80BLE layer"))
    assert read(full_journal) == {}
    with Journal(full_journal) as opened:
        opened.add(layer(1))
    assert len(read(full_journal)) == 1
