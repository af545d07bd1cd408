"""Migrating again: what a first run left out and has been repaired, and what came since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legacy_fixtures.build import Built, Container, Layer, Store, build
from migrator.commands import checksums as checksumming
from migrator.commands import migrate as migration
from migrator.commands.export import export
from migrator.commands.rollback import rollback
from migrator.commands.status import status
from tests.command import dump, migrator, snapshot
from tests.crash.faults import Fault, run
from tests.crash.scenarios import copy
from tests.stores.converted import check_overlay2, convert
from tests.stores.younger import away, younger

AGAIN = "docker-1.9.1-overlay-again"
MOVED = "acme/app:latest"
NEW_NAMES = ("acme/second:1", "acme/second:committed")

# Two lines on one base; every image has a name and a container, and one container links to others.
STORE = Store(
    layers=(Layer(), Layer(0), Layer(1), Layer(0)),
    tags={"base:1": 0, "app:1": 1, "app:2": 2, "other:1": 3, "app:latest": 2},
    checksums=True,
    containers=(
        Container("db", 1),
        Container("web", 0, {"database": "db", "other": "side"}),
        Container("side", 3, {"db": "db"}),
    ),
)


@pytest.fixture
def built(memory: Path) -> Built:
    return build(STORE, memory / "root")


@pytest.fixture
def whole(built: Built) -> Path:
    """Another copy of the store as it is."""
    other = built.root.with_name("whole")
    copy(built.root, other)
    return other


def names(root: Path, driver: str = "overlay") -> dict[str, str]:
    repositories = dump(root, driver)["repositories"]["Repositories"]
    return {key: image for keys in repositories.values() for key, image in keys.items()}


def test_an_old_daemon_went_on_in_what_docker_migrated(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = store_copy(AGAIN)
    before, old_names = snapshot(root), names(root)

    run = migrator("migrate", "-g", root, "--progress", "none")

    assert run.returncode == 3
    assert f"tag {MOVED}: it exists already and is another image" in run.stdout
    expected, found = golden(AGAIN), dump(root, "overlay")
    assert {k: v for k, v in found.items() if k != "repositories"} == {
        k: v for k, v in expected.items() if k != "repositories"
    }
    repositories = json.loads((root / "repositories-overlay").read_text())["Repositories"]
    new = {
        key: expected["id_map"][repositories[key.partition(":")[0]][key.partition(":")[2]]]
        for key in NEW_NAMES
    }
    assert names(root) == {**old_names, **new}

    again = migrator("migrate", "-g", root, "--progress", "none")
    assert again.returncode == 3
    assert "nothing new to migrate" in again.stdout
    assert [line for line in again.stdout.splitlines() if line.startswith("  ")] == [
        line for line in run.stdout.splitlines() if line.startswith(("  tag ", "  container "))
    ]

    assert migrator("rollback", "-g", root).returncode == 0
    assert snapshot(root) == before


@pytest.mark.parametrize("missing", range(len(STORE.layers)))
def test_a_repaired_layer_makes_the_store_that_never_missed_it(
    missing: int, built: Built, whole: Path
) -> None:
    migration.migrate(whole, workers=0)
    original = snapshot(built.root)
    back = away(built.root, f"overlay/{built.v1_ids[missing]}")
    first = migration.migrate(built.root, workers=0)
    assert first.exit_code == 3
    back()

    second = migration.migrate(built.root, workers=0)

    assert (second.exit_code, second.nothing_to_do) == (0, None)
    assert dump(built.root, "overlay") == dump(whole, "overlay")
    assert "already migrated" in (migration.migrate(built.root, workers=0).nothing_to_do or "")
    for _ in range(2):
        rollback(built.root)
    assert snapshot(built.root) == original


@pytest.mark.parametrize(
    ("name", "first"),
    [
        # The first of twins holds their layer, although it came second.
        *(("docker-1.9.1-overlay", x) for x in ("2207dd1d4ae7", "861aa4c86981", "e57265768b3f")),
        # Of layers with one digest the last one has it, although it came first.
        *(
            ("docker-1.9.1-overlay-odd", x)
            for x in ("deb2016ae5d3", "e06adee1246d", "eb0ef96f9ed8")
        ),
    ],
)
def test_what_comes_second_takes_the_place_that_it_would_have_had(
    name: str,
    first: str,
    store_copy: Callable[[str], Path],
    golden: Callable[[str], dict[str, Any]],
) -> None:
    root = store_copy(name)
    (layer,) = (root / "overlay").glob(f"{first}*")
    original = snapshot(root)
    back = away(root, f"overlay/{layer.name}")
    migration.migrate(root, workers=0)
    back()
    migration.migrate(root, workers=0)
    assert dump(root, "overlay") == golden(name)
    assert migrator("verify", "-g", root).returncode == 0
    rollback(root)
    rollback(root)
    assert snapshot(root) == original


def test_a_layer_that_docker_may_have_used_stays_where_it_is(
    store_copy: Callable[[str], Path],
) -> None:
    root = store_copy("docker-1.9.1-overlay")
    (layer,) = (root / "overlay").glob("2207dd1d4ae7*")
    back = away(root, f"overlay/{layer.name}")
    migration.migrate(root, workers=0)
    twin = dump(root, "overlay")["layers"]
    (root / "buildkit").mkdir()
    back()
    migration.migrate(root, workers=0)
    after = dump(root, "overlay")["layers"]
    assert twin.items() <= after.items()


def test_what_is_left_out_is_told_each_time(built: Built) -> None:
    away(built.root, f"overlay/{built.v1_ids[2]}")
    left_out = f"layer {built.v1_ids[2]}: its directory overlay/{built.v1_ids[2]}/root is missing"
    for told in ("Migrated", "nothing new to migrate", "nothing new to migrate"):
        run = migrator("migrate", "-g", built.root, "--progress", "none")
        assert run.returncode == 3
        assert told in run.stdout
        assert left_out in run.stdout
        assert run.stdout.count("  tag app:") == 2
    plan = migrator("plan", "-g", built.root)
    assert plan.returncode == 3
    assert left_out in plan.stdout
    assert not (built.root / ".migrator-2").exists()


def test_a_layer_that_fails_each_time_publishes_nothing(built: Built) -> None:
    (built.root / "graph" / built.v1_ids[2] / "tar-data.json.gz").unlink()
    shutil.rmtree(built.root / "overlay" / built.v1_ids[0])
    # With a record itself, but what builds on it has to be compared with it.
    first = migration.migrate(built.root, workers=0)
    after = snapshot(built.root)
    second = migration.migrate(built.root, workers=0)
    assert first.exit_code == second.exit_code == 3
    assert second.nothing_to_do is not None
    assert snapshot(built.root) == after


def test_names_of_what_was_migrated_before_are_left_alone(built: Built) -> None:
    back = younger(built, 3, "side")
    migration.migrate(built.root, workers=0)
    path = built.root / "image/overlay/repositories.json"
    document = json.loads(path.read_text())
    # Its owner removed one name, and gave another to another image.
    removed = document["Repositories"]["app"].pop("app:2")
    document["Repositories"]["app"]["app:1"] = removed
    path.write_text(json.dumps(document))
    back()

    summary = migration.migrate(built.root, workers=0)

    assert (summary.exit_code, summary.tags) == (0, 1)
    image_id = dump(built.root, "overlay")["id_map"][built.v1_ids[3]]
    known = {k: v for keys in document["Repositories"].values() for k, v in keys.items()}
    assert names(built.root) == {**known, "other:1": image_id}


def test_a_taken_name_is_reported_until_it_is_free(built: Built) -> None:
    back = younger(built, 3)
    migration.migrate(built.root, workers=0)
    path = built.root / "image/overlay/repositories.json"
    document = json.loads(path.read_text())
    document["Repositories"]["other"] = {"other:1": document["Repositories"]["base"]["base:1"]}
    path.write_text(json.dumps(document))
    back()

    for _ in range(3):
        summary = migration.migrate(built.root, workers=0)
        assert summary.exit_code == 3
        assert [problem.name for problem in summary.problems] == ["other:1"]
        assert "exists already" in summary.problems[0].reason
    assert migrator("plan", "-g", built.root).returncode == 3

    document = json.loads(path.read_text())
    document["Repositories"]["other"] = {
        "other:1": dump(built.root, "overlay")["id_map"][built.v1_ids[3]]
    }
    path.write_text(json.dumps(document))
    summary = migration.migrate(built.root, workers=0)
    assert (summary.exit_code, summary.problems) == (0, [])


def test_links_to_what_comes_later_are_added(built: Built, whole: Path) -> None:
    migration.migrate(whole, workers=0)
    back = away(built.root, f"overlay/{built.v1_ids[3]}")
    first = migration.migrate(built.root, workers=0)
    side = built.container_ids["side"]
    assert [p.reason for p in first.problems if p.about == "link"] == [
        f"linked as 'other' to container {side}, not migrated"
    ]
    back()
    migration.migrate(built.root, workers=0)
    assert dump(built.root, "overlay")["links"] == dump(whole, "overlay")["links"]


def test_what_docker_removed_since_is_no_loss(built: Built) -> None:
    """`docker rmi` under the new daemon takes config, layer and the driver's directory."""
    migration.migrate(built.root, workers=0)
    migrated = dump(built.root, "overlay")
    v1_id = built.v1_ids[2]
    image_id = migrated["id_map"][v1_id].removeprefix("sha256:")
    base = built.root / "image/overlay"
    (base / "imagedb/content/sha256" / image_id).unlink()
    shutil.rmtree(base / "imagedb/metadata/sha256" / image_id)
    shutil.rmtree(base / "layerdb/sha256" / built.chain_ids[2].removeprefix("sha256:"))
    shutil.rmtree(built.root / "overlay" / v1_id)

    summary = migration.migrate(built.root, workers=0)

    assert summary.exit_code == 0
    assert summary.nothing_to_do is not None
    assert [(p.name, p.fatal) for p in summary.problems] == [(v1_id, False)]


def test_an_image_whose_config_is_gone_is_migrated_again(built: Built, whole: Path) -> None:
    migration.migrate(whole, workers=0)
    migration.migrate(built.root, workers=0)
    image_id = dump(whole, "overlay")["id_map"][built.v1_ids[2]].removeprefix("sha256:")
    (built.root / "image/overlay/imagedb/content/sha256" / image_id).unlink()
    path = built.root / "image/overlay/repositories.json"
    document = json.loads(path.read_text())
    del document["Repositories"]["app"]["app:2"]
    path.write_text(json.dumps(document))

    assert migration.migrate(built.root, workers=0).images == 1
    assert dump(built.root, "overlay") == dump(whole, "overlay")


def test_each_migration_is_undone_by_itself(built: Built, whole: Path) -> None:
    migration.migrate(whole, workers=0)
    back = younger(built, 3, "side")
    trees = [snapshot(built.root)]
    migration.migrate(built.root, workers=0)
    trees.append(snapshot(built.root))
    back()
    late = snapshot(built.root)
    migration.migrate(built.root, workers=0)
    assert dump(built.root, "overlay") == dump(whole, "overlay")

    assert "undoes that next" in rollback(built.root)
    assert snapshot(built.root) == late
    younger(built, 3, "side")
    assert snapshot(built.root, without=(".migrator",)) == {
        path: entry for path, entry in trees[1].items() if not path.startswith(".migrator")
    }
    rollback(built.root)
    assert snapshot(built.root) == trees[0]


def test_status_and_checksums_see_what_is_new(built: Built) -> None:
    back = younger(built, 3, "side")
    migration.migrate(built.root, workers=0)
    assert status(built.root).state == "migrated"
    back()

    said = status(built.root)
    assert said.state.startswith("migrated; Docker has used it since: ")
    assert said.state.endswith("; 1 image and 1 container not migrated yet")
    assert "`migrator migrate`" in said.next_step
    plan = json.loads(migrator("plan", "-g", built.root, "--json").stdout)
    assert (plan["images"], plan["images_migrated_before"]) == (1, 3)
    assert (plan["layers_to_hash"], plan["tags"], plan["containers"]) == (1, 1, 1)
    assert not plan["already_migrated"]

    hashed = checksumming.checksums(built.root, workers=0)
    assert [layer.v1_id for layer in hashed.layers] == [built.v1_ids[3]]
    assert (built.root / "graph" / built.v1_ids[3] / ".migration-diffid").exists()
    summary = migration.migrate(built.root, workers=0)
    assert [layer.kept for layer in summary.layers] == [True]
    assert status(built.root).state == "migrated; before that: migrated"


def test_undoing_checksums_leaves_the_migration(built: Built) -> None:
    back = younger(built, 3)
    migration.migrate(built.root, workers=0)
    migrated = snapshot(built.root)
    back()
    checksumming.checksums(built.root, workers=0)
    assert checksumming.undo(built.root) == 1
    younger(built, 3)
    assert snapshot(built.root) == migrated


def test_export_takes_what_is_new_from_the_legacy_store(built: Built, memory: Path) -> None:
    back = younger(built, 3)
    migration.migrate(built.root, workers=0)
    back()
    summary = export(built.root, memory / "out", workers=0)
    assert {name for image in summary.images for name in image.names} == {*STORE.tags}
    assert len(summary.images) == len(STORE.layers)


def test_to_overlay2_from_a_root_in_which_the_old_daemon_went_on(built: Built, whole: Path) -> None:
    convert(whole)
    back = younger(built, 3, "side")
    migration.migrate(built.root, workers=0)
    in_place = snapshot(built.root / "image")
    back()

    summary = convert(built.root)

    assert summary.exit_code == 0
    assert (summary.images, summary.containers, summary.tags) == (4, 3, 5)
    expected, found = dump(whole, "overlay2"), dump(built.root, "overlay2")
    for kind in ("images", "image_metadata", "layers", "mounts", "repositories", "links"):
        assert found[kind] == expected[kind], kind
    check_overlay2(built.root)
    after = snapshot(built.root / "image", without=("overlay2",))
    assert after == in_place

    rollback(built.root)
    assert snapshot(built.root / "image") == in_place


def test_to_overlay2_a_second_time(built: Built, whole: Path) -> None:
    convert(whole)
    back = younger(built, 3, "side")
    convert(built.root)
    first = snapshot(built.root, without=("graph", "overlay", "containers"))
    path = built.root / "image/overlay2/repositories.json"
    again = migrator(
        "migrate", "-g", built.root, "--target-driver", "overlay2", "--progress", "none"
    )
    # A link to what is not there yet.
    assert again.returncode == 3
    assert "nothing new to migrate" in again.stdout
    document = json.loads(path.read_text())
    del document["Repositories"]["app"]["app:2"]
    path.write_text(json.dumps(document))
    back()

    summary = convert(built.root)

    assert (summary.exit_code, summary.images, summary.tags) == (0, 1, 1)
    expected, found = dump(whole, "overlay2"), dump(built.root, "overlay2")
    for kind in ("images", "image_metadata", "layers", "mounts", "links"):
        assert found[kind] == expected[kind], kind
    expected_names = {k: v for k, v in names(whole, "overlay2").items() if k != "app:2"}
    assert names(built.root, "overlay2") == expected_names
    check_overlay2(built.root)

    rollback(built.root)
    younger(built, 3, "side")
    undone = snapshot(built.root, without=("graph", "overlay", "containers"))
    changed = {path for path in first if undone.get(path) != first[path]}
    assert changed <= {"image/overlay2/repositories.json", "repositories-overlay"}


def test_an_empty_leftover_is_not_the_last_migration(built: Built) -> None:
    original = snapshot(built.root)
    (built.root / ".migrator-overlay2").mkdir()
    (built.root / ".migrator-overlay2/phase").write_text("preparing")
    migration.migrate(built.root, workers=0)

    run = migrator("rollback", "-g", built.root, "--force")

    assert run.returncode == 0
    assert snapshot(built.root) == original


def test_a_killed_rollback_is_not_the_last_migration(built: Built) -> None:
    """Killed when all is taken back but its own directory."""
    original = snapshot(built.root)
    convert(built.root)
    other = built.root.with_name("other")
    copy(built.root, other)
    points = run(["rollback", "-g", other, "-q"]).points
    last = max(n for n, point in enumerate(points) if point.endswith("-overlay2/phase"))
    assert run(["rollback", "-g", built.root], fault=Fault.KILL, point=last).code == -9
    migration.migrate(built.root, workers=0)
    assert status(built.root).state.startswith("migrated;")

    assert migrator("rollback", "-g", built.root, "--force").returncode == 0
    assert snapshot(built.root, without=(".migrator-overlay2",)) == original
    assert migrator("rollback", "-g", built.root).returncode == 0
    assert snapshot(built.root) == original
