"""Migrating where Docker >= 1.10 was started before: nothing of its is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from legacy_fixtures.build import Built, Container, Store, build, line
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from tests.command import dump, migrator, snapshot
from tests.crash.scenarios import copy
from tests.scratch import scratch

CONTAINERS = (Container("db"), Container("web", 1, {"database": "db"}))


@pytest.fixture
def built() -> Iterator[Built]:
    with scratch() as directory:
        store = Store(layers=line(3), checksums=True, containers=CONTAINERS, earlier=True)
        yield build(store, directory / "root")


def test_existing_objects_stay_and_the_rest_is_added(built: Built) -> None:
    before, tree = dump(built.root, "overlay"), snapshot(built.root)

    run = migrator("migrate", "-g", built.root, "--progress", "none")

    after = dump(built.root, "overlay")
    assert run.returncode == 3
    assert "tag app:latest: it exists already and is another image" in run.stdout
    for kind in ("images", "layers", "image_metadata"):
        assert before[kind].items() <= after[kind].items()
    assert len(after["images"]) == 3 + 1
    assert {f"sha256:{chain}" for chain in after["layers"]} == set(built.chain_ids)
    old, new = (d["repositories"]["Repositories"] for d in (before, after))
    base = {"base:1": after["id_map"][built.v1_ids[0]]}
    assert new == {**old, "base": base}

    path = f"v2metadata-by-diffid/{built.diff_ids[0].replace(':', '/')}"
    old_records, new_records = (json.loads(d["distribution"][path]) for d in (before, after))
    checksum = (built.root / "graph" / built.v1_ids[0] / "checksum").read_text()
    assert new_records == [*old_records, {"Digest": checksum, "SourceRepository": ""}]

    assert migrator("rollback", "-g", built.root).returncode == 0
    assert snapshot(built.root) == tree


def test_every_replaced_file_is_kept(built: Built) -> None:
    before = snapshot(built.root)
    migration.migrate(built.root, workers=0)
    saved = snapshot(built.root / ".migrator/saved")
    replaced = {path: entry for path, entry in saved.items() if (built.root / path).is_file()}
    kinds = {path.rpartition("/")[2] for path in replaced} - {built.diff_ids[0][7:]}
    assert kinds == {"repositories.json", "hostconfig.json"}
    assert len(replaced) == 1 + 1 + 2
    assert all(before[path] == entry for path, entry in replaced.items())


def test_a_tag_that_is_the_same_image_is_no_conflict(built: Built) -> None:
    copy(built.root, other := built.root.with_name("other"))
    migration.migrate(other, workers=0)
    mine = dump(other, "overlay")["id_map"][built.v1_ids[1]]
    path = built.root / "image/overlay/repositories.json"
    path.write_text(json.dumps({"Repositories": {"app": {"app:latest": mine}}}))
    assert migrator("migrate", "-g", built.root, "-q").returncode == 0


def test_a_migration_that_docker_left_half_done_is_completed(built: Built) -> None:
    shutil.rmtree(built.root / "image")
    copy(built.root, whole := built.root.with_name("whole"))
    migration.migrate(whole, workers=0)
    expected = dump(whole, "overlay")
    # Docker writes the map after the images, then come containers and tags.
    shutil.copytree(whole / "image", built.root / "image")
    (built.root / "image/overlay/repositories.json").unlink()
    shutil.rmtree(built.root / "image/overlay/layerdb/mounts")
    first = {built.v1_ids[0]: expected["id_map"][built.v1_ids[0]]}
    (built.root / ".migration-v1-images.json").write_text(json.dumps(first))
    before = snapshot(built.root)

    assert migrator("migrate", "-g", built.root, "-q").returncode == 0
    assert dump(built.root, "overlay") == expected

    rollback(built.root)
    assert snapshot(built.root) == before


def test_damaged_digest_record_stays_and_costs_no_image(built: Built) -> None:
    path = f"distribution/v2metadata-by-diffid/{built.diff_ids[0].replace(':', '/')}"
    record = built.root / "image/overlay" / path
    record.write_text('{"not": "a list"')

    run = migrator("migrate", "-g", built.root, "--progress", "none")

    assert f"{path} is damaged" in run.stdout
    assert record.read_text() == '{"not": "a list"'
    assert set(dump(built.root, "overlay")["id_map"]) == set(built.v1_ids)
