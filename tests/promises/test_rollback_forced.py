"""`migrator rollback --force` where Docker has removed images since: their names stay away."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Layer, Store, build
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.commands.verify import verify
from migrator.errors import Subject
from tests.command import dump, migrator, snapshot
from tests.crash.faults import Fault, run
from tests.crash.scenarios import copy
from tests.scratch import scratch
from tests.stores.younger import younger

NAMES = "image/overlay/repositories.json"
STORE = Store(
    layers=(Layer(), Layer(0), Layer(1), Layer(0)),
    tags={"base:1": 0, "app:1": 1, "app:2": 2, "app:latest": 2, "late:1": 3},
    checksums=True,
)


@pytest.fixture
def built() -> Iterator[Built]:
    """A store that was migrated, grew, and was migrated again, which added a name."""
    with scratch() as directory:
        made = build(STORE, directory / "root")
        back = younger(made, 3)
        migration.migrate(made.root, workers=0)
        back()
        migration.migrate(made.root, workers=0)
        (made.root / ".migrator-2/saved" / NAMES).chmod(0o640)
        yield made


@pytest.fixture
def nameless() -> Iterator[Built]:
    """The same, but for the name: the file of names was not changed."""
    tags = {tag: number for tag, number in STORE.tags.items() if tag != "late:1"}
    with scratch() as directory:
        made = build(dataclasses.replace(STORE, tags=tags), directory / "root")
        back = younger(made, 3)
        migration.migrate(made.root, workers=0)
        back()
        migration.migrate(made.root, workers=0)
        yield made


def names(root: Path) -> dict[str, str]:
    repositories = json.loads((root / NAMES).read_text())["Repositories"]
    return {key: image for keys in repositories.values() for key, image in keys.items()}


def remove_image(built: Built, index: int) -> None:
    """`docker rmi` of an image on which nothing lies, as Docker >= 1.10 leaves it."""
    root, v1_id = built.root, built.v1_ids[index]
    image_id = dump(root, "overlay")["id_map"][v1_id]
    base, hexadecimal = root / "image/overlay", image_id.removeprefix("sha256:")
    (base / "imagedb/content/sha256" / hexadecimal).unlink()
    shutil.rmtree(base / "imagedb/metadata/sha256" / hexadecimal)
    shutil.rmtree(base / "layerdb/sha256" / built.chain_ids[index].removeprefix("sha256:"))
    shutil.rmtree(root / "overlay" / v1_id)
    change_names(root, {key: value for key, value in names(root).items() if value != image_id})


def change_names(root: Path, left: dict[str, str]) -> None:
    """As Docker does it: another file takes the place of the one that was."""
    repositories: dict[str, dict[str, str]] = {}
    for key, image_id in left.items():
        repositories.setdefault(key.partition(":")[0], {})[key] = image_id
    aside = root / f"{NAMES}.aside"
    aside.write_text(json.dumps({"Repositories": repositories}, separators=(",", ":")))
    aside.chmod(0o600)
    aside.rename(root / NAMES)


def wrong_names(root: Path) -> list[str]:
    findings = verify(root, workers=0, quick=True).findings
    return [str(each) for each in findings if each.about == Subject.TAG]


def test_names_of_images_that_are_gone_stay_away(built: Built) -> None:
    before = names(built.root)
    status = (built.root / ".migrator-2/saved" / NAMES).stat()
    remove_image(built, 2)

    ended = migrator("rollback", "-g", built.root, "--force")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "app:2, app:latest" in ended.stdout
    assert "late:1" not in ended.stdout
    assert names(built.root) == {name: before[name] for name in ("base:1", "app:1")}
    assert wrong_names(built.root) == []
    after = (built.root / NAMES).stat()
    assert (after.st_mode, after.st_uid) == (status.st_mode, status.st_uid)
    assert not (built.root / ".migrator-2").exists()


def test_names_that_docker_took_or_moved_come_back(built: Built) -> None:
    before = (built.root / ".migrator-2/saved" / NAMES).read_bytes()
    image_id = names(built.root)["base:1"]
    change_names(built.root, {"app:1": image_id, "base:1": image_id, "mine:1": image_id})

    done = rollback(built.root, force=True)

    assert "removed" not in done
    assert (built.root / NAMES).read_bytes() == before


def test_a_removed_file_of_names_comes_back_without_them(built: Built) -> None:
    remove_image(built, 2)
    (built.root / NAMES).unlink()
    rollback(built.root, force=True)
    assert {*names(built.root)} == {"base:1", "app:1"}


def test_a_name_that_docker_gave_to_what_goes_away_goes_too(nameless: Built) -> None:
    """The migration added no name, so that the file of names is none of its."""
    root, before = nameless.root, names(nameless.root)
    brought = dump(root, "overlay")["id_map"][nameless.v1_ids[3]]
    change_names(root, {**before, "mine:1": brought, "mine:2": before["base:1"]})
    changed = snapshot(root)

    run = migrator("rollback", "-g", root)
    assert run.returncode == 1
    assert f"{NAMES} was changed: mine:1 is an image of this migration" in run.stderr
    assert snapshot(root) == changed

    run = migrator("rollback", "-g", root, "--force")
    assert (run.returncode, run.stderr) == (0, "")
    assert "mine:1" in run.stdout
    assert names(root) == {**before, "mine:2": before["base:1"]}
    assert wrong_names(root) == []


@pytest.mark.parametrize("force", [False, True])
def test_a_name_that_stood_for_nothing_before_does_so_again(force: bool, built: Built) -> None:
    """Its image was migrated again, which changed no name."""
    image_id = names(built.root)["app:2"]
    path = f"image/overlay/imagedb/content/sha256/{image_id.removeprefix('sha256:')}"
    (built.root / path).unlink()
    before = snapshot(built.root)
    assert migration.migrate(built.root, workers=0).images == 1
    assert (built.root / path).exists()
    rollback(built.root, force=force)
    assert snapshot(built.root) == before


@pytest.mark.parametrize("force", [False, True])
def test_names_that_docker_did_not_touch_come_back_exactly(force: bool, built: Built) -> None:
    """Even those that stood for nothing before: it is not known that they are of no use."""
    config = names(built.root)["app:2"].removeprefix("sha256:")
    content = built.root / "image/overlay/imagedb/content/sha256" / config
    before = (built.root / ".migrator-2/saved" / NAMES).read_bytes()
    content.unlink()
    rollback(built.root, force=force)
    assert (built.root / NAMES).read_bytes() == before


def test_a_saved_file_that_is_no_list_of_names_comes_back_as_it_was(built: Built) -> None:
    remove_image(built, 2)
    (built.root / ".migrator-2/saved" / NAMES).write_bytes(b"[]")
    rollback(built.root, force=True)
    assert (built.root / NAMES).read_bytes() == b"[]"


def test_a_killed_one_is_finished(built: Built) -> None:
    """Once the names are back, what Docker did to them stops no plain `rollback` any more."""
    remove_image(built, 2)
    used, root = built.root.with_name("used"), built.root
    copy(root, used)
    forced = ["rollback", "-g", root, "--force"]
    points = run(forced).points
    undone, content = snapshot(root), (root / NAMES).read_bytes()
    assert {*names(root)} == {"base:1", "app:1"}
    near = [n for n, point in enumerate(points) if "repositories.json" in point]
    last = near[-1]
    end = max(n for n, point in enumerate(points) if point.endswith("/.migrator-2/phase"))
    assert len(near) > 4
    for point in (near[0] - 1, *near, last + 1, end):
        copy(used, root)
        assert run(forced, fault=Fault.KILL, point=point).code == -9
        again = forced if point < last else forced[:-1]
        ended = run(again)
        assert ended.code == 0, (points[point], ended)
        left = snapshot(root)
        # It has the time at which it was written.
        left[NAMES] = undone[NAMES]
        assert left == undone, points[point]
        assert (root / NAMES).read_bytes() == content
