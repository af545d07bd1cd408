"""`migrate --target-driver overlay2` of stores that Docker >= 1.10, or a migration, made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Container, Layer, Store, build
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.commands.status import status
from tests.command import dump, migrator, snapshot
from tests.crash.scenarios import copy
from tests.stores.converted import as_docker_left_it, check_overlay2, convert, stack

CONTAINERS = (Container("db"), Container("web", 2, {"database": "db"}))
FORKED = (Layer(None), Layer(0), Layer(1), Layer(0))
STORE = Store("vfs", FORKED, containers=CONTAINERS, checksums=True)
KINDS = ("images", "image_metadata", "repositories", "distribution", "mounts")


@pytest.fixture
def built(memory: Path) -> Built:
    """A store of Docker >= 1.10 on vfs."""
    built = build(STORE, memory / "root")
    as_docker_left_it(built)
    return built


def layer_of(built: Built, index: int, driver: str = "vfs") -> Path:
    chain = built.chain_ids[index].removeprefix("sha256:")
    return built.root / f"image/{driver}/layerdb/sha256" / chain


def image_of(root: Path, chain: str, driver: str = "vfs") -> str:
    """The image ID, without `sha256:`, of the image with this top layer."""
    depth = 0
    at = root / f"image/{driver}/layerdb/sha256" / chain.removeprefix("sha256:")
    diffs = []
    while True:
        diffs.insert(0, (at / "diff").read_text())
        if not (at / "parent").exists():
            break
        at = at.with_name((at / "parent").read_text().removeprefix("sha256:"))
        depth += 1
    for path in (root / f"image/{driver}/imagedb/content/sha256").iterdir():
        if json.loads(path.read_text())["rootfs"]["diff_ids"] == diffs:
            return path.name
    raise AssertionError(chain)


def test_everything_is_carried_over(built: Built) -> None:
    root = built.root
    (image_metadata := root / "image/vfs/imagedb/metadata/sha256").mkdir(exist_ok=True)
    image = image_of(root, built.chain_ids[2])
    (image_metadata / image / "lastUpdated").write_text("2020-01-01T00:00:00Z")
    (layer_of(built, 0) / "descriptor.json").write_text("{}")
    before, tree = dump(root, "vfs"), snapshot(root)

    run = migrator("migrate", "-g", root, "--target-driver", "overlay2")

    assert run.returncode == 0, run.stdout
    after = dump(root, "overlay2")
    assert {kind: after[kind] for kind in KINDS} == {kind: before[kind] for kind in KINDS}
    assert after["layers"] == before["layers"]
    check_overlay2(root)
    now = snapshot(root)
    changed = {path for path in tree if now[path] != tree[path]}
    assert changed == {f"containers/{each}/config.v2.json" for each in built.container_ids.values()}
    for path in changed:
        saved = (root / ".migrator-overlay2/saved" / path).read_text()
        assert (root / path).read_text() == saved.replace('"Driver":"vfs"', '"Driver":"overlay2"')
    for driver in ("auto", "vfs"):
        assert migrator("verify", "-g", root, "-s", driver).returncode == 0
    assert "nothing to do" in migrator("migrate", "-g", root, "--target-driver", "overlay2").stdout

    assert migrator("rollback", "-g", root).returncode == 0
    assert snapshot(root) == tree


def test_config_that_docker_wrote_keeps_its_bytes(built: Built) -> None:
    path = built.root / "containers" / built.container_ids["db"] / "config.v2.json"
    text = path.read_text()
    image = json.loads(text)["Image"]
    docker = (
        f'{{"State":{{"Driver":"vfs"}}, "ID":"{built.container_ids["db"]}","Image":"{image}",'
        '"Driver" : "vfs","Name":"/\\u00e9<&"}'
    )
    path.write_text(docker)
    path.chmod(0o640)
    convert(built.root)
    assert path.read_text() == docker.replace(' : "vfs"', ' : "overlay2"')
    assert path.stat().st_mode & 0o777 == 0o640
    assert migrator("verify", "-g", built.root, "-s", "overlay2").returncode == 0


def lose_directory(built: Built) -> None:
    shutil.rmtree(built.root / "vfs/dir" / built.v1_ids[1])


def lose_file(built: Built) -> None:
    shutil.rmtree(built.root / "vfs/dir" / built.v1_ids[1] / "d1-0")


def damage_diff(built: Built) -> None:
    (layer_of(built, 1) / "diff").write_text("sha256:none")


def lose_record(built: Built) -> None:
    (layer_of(built, 1) / "tar-split.json.gz").unlink()


@pytest.mark.parametrize("damage", [lose_directory, lose_file, damage_diff, lose_record])
def test_damaged_layer_costs_only_what_builds_on_it(
    damage: Callable[[Built], None], built: Built
) -> None:
    whole = built.root.with_name("whole")
    copy(built.root, whole)
    lost = {image_of(whole, built.chain_ids[index]) for index in (1, 2)}
    damage(built)
    before = snapshot(built.root)

    run = migrator("migrate", "-g", built.root, "--target-driver", "overlay2")

    assert run.returncode == 3, run.stdout
    assert f"layer {built.chain_ids[1]}" in run.stdout
    made, expected = dump(built.root, "overlay2"), dump(whole, "vfs")
    assert set(made["images"]) == set(expected["images"]) - lost
    assert all(f"image sha256:{image}: " in run.stdout for image in lost)
    assert "tag app:latest: " in run.stdout
    assert set(made["repositories"]["Repositories"]) == {"base"}
    assert set(made["mounts"]) == {built.container_ids["db"]}
    assert f"container {built.container_ids['web']}: " in run.stdout
    check_overlay2(built.root)
    assert migrator("verify", "-g", built.root, "-s", "overlay2").returncode == 0
    assert migrator("rollback", "-g", built.root).returncode == 0
    assert snapshot(built.root) == before


def test_container_goes_the_way_of_its_image(built: Built) -> None:
    """The layers are whole, but the image's config is not."""
    root, image = built.root, image_of(built.root, built.chain_ids[2])
    (root / "image/vfs/imagedb/content/sha256" / image).write_text("{}")

    run = migrator("migrate", "-g", root, "--target-driver", "overlay2")

    assert run.returncode == 3, run.stdout
    web = built.container_ids["web"]
    assert f"container {web}: its image sha256:{image} cannot be migrated" in run.stdout
    assert set(dump(root, "overlay2")["mounts"]) == {built.container_ids["db"]}
    assert json.loads((root / f"containers/{web}/config.v2.json").read_text())["Driver"] == "vfs"
    check_overlay2(root)
    assert migrator("verify", "-g", root, "-s", "overlay2").returncode == 0


def test_container_of_an_image_that_docker_removed(built: Built) -> None:
    """`docker rmi --force` takes only the image away, not what its container lies on."""
    store, image = built.root / "image/vfs", image_of(built.root, built.chain_ids[2])
    (store / "imagedb/content/sha256" / image).unlink()
    shutil.rmtree(store / "imagedb/metadata/sha256" / image)
    repositories = json.loads((store / "repositories.json").read_text())
    del repositories["Repositories"]["app"]
    (store / "repositories.json").write_text(json.dumps(repositories))

    assert not convert(built.root).problems

    assert set(dump(built.root, "overlay2")["mounts"]) == {*built.container_ids.values()}
    assert migrator("verify", "-g", built.root, "-s", "overlay2").returncode == 0


def overlay2_of_docker(built: Built) -> str:
    """Put a store of overlay2 beside, with one layer, image and tag; returns the image's ID."""
    chain = built.chain_ids[0].removeprefix("sha256:")
    image = image_of(built.root, built.chain_ids[0])
    vfs, store = built.root / "image/vfs", built.root / "image/overlay2"
    shutil.copytree(vfs / "layerdb/sha256" / chain, store / "layerdb/sha256" / chain)
    (store / "layerdb/sha256" / chain / "cache-id").write_text("pulled")
    (store / "imagedb/content/sha256").mkdir(parents=True)
    content = f"imagedb/content/sha256/{image}"
    shutil.copy(vfs / content, store / content)
    tags = {"Repositories": {"app": {"app:latest": f"sha256:{image}"}}}
    (store / "repositories.json").write_text(json.dumps(tags))
    directory = built.root / "overlay2"
    directory.mkdir(mode=0o710)
    (directory / "l").mkdir(mode=0o700)
    layer = directory / "pulled"
    layer.mkdir(mode=0o710)
    shutil.copytree(built.root / "vfs/dir" / built.v1_ids[0], layer / "diff", symlinks=True)
    (layer / "link").write_text("A" * 26)
    (layer / "committed").touch(0o600)
    (directory / "l" / ("A" * 26)).symlink_to("../pulled/diff")
    return image


def test_store_that_is_there_already_stays(built: Built) -> None:
    image = overlay2_of_docker(built)
    before, expected = snapshot(built.root), dump(built.root, "vfs")

    run = migrator("migrate", "-g", built.root, "--target-driver", "overlay2")

    assert run.returncode == 3, run.stdout
    assert "tag app:latest: it exists already and is another image" in run.stdout
    made = dump(built.root, "overlay2")
    assert made["images"] == expected["images"]
    assert made["mounts"] == expected["mounts"]
    assert made["repositories"]["Repositories"]["app"] == {"app:latest": f"sha256:{image}"}
    assert made["repositories"]["Repositories"].keys() == {"app", "base"}
    assert stack(built.root, built.chain_ids[2])[2] == "pulled"
    check_overlay2(built.root)
    assert migrator("verify", "-g", built.root, "-s", "overlay2").returncode == 0
    assert migrator("rollback", "-g", built.root).returncode == 0
    assert snapshot(built.root) == before


def test_which_store_is_meant(built: Built) -> None:
    shutil.copytree(built.root / "image/vfs", built.root / "image/aufs")
    unclear = migrator("migrate", "-g", built.root, "--target-driver", "overlay2")
    assert unclear.returncode == 1
    assert "the stores of several drivers are in image/: aufs, vfs" in unclear.stderr
    options = ("-g", built.root, "--target-driver", "overlay2")
    assert migrator("migrate", *options, "-s", "btrfs").returncode == 1
    same = migrator("migrate", *options, "-s", "overlay2")
    assert "no store of this driver" in same.stderr
    assert migrator("migrate", *options, "-s", "vfs").returncode == 0
    rollback(built.root)
    shutil.move(built.root / "image/vfs", built.root / "image/overlay2")
    shutil.rmtree(built.root / "image/aufs")
    assert "one of overlay2 already, nothing to do" in migrator("migrate", *options).stdout


def test_other_targets_are_refused(built: Built) -> None:
    for command in ("migrate", "plan"):
        told = migrator(command, "-g", built.root, "--target-driver", "vfs")
        assert told.returncode == 2
        assert "'vfs' is no storage driver to migrate to" in told.stderr


def test_migrations_are_undone_one_by_one(memory: Path) -> None:
    root = build(STORE, memory / "root").root
    legacy = snapshot(root)
    migration.migrate(root, workers=0)
    in_place = snapshot(root)
    convert(root)
    assert status(root).state == "migrated to overlay2; before that: migrated"
    for driver in ("auto", "overlay2", "vfs"):
        assert migrator("verify", "-g", root, "-s", driver, "-q").returncode == 0
    assert "(overlay2)" in migrator("verify", "-g", root).stdout

    told = migrator("rollback", "-g", root).stdout
    assert "what it was before the migration to overlay2. It still is: migrated" in told
    assert snapshot(root) == in_place
    assert status(root).state == "migrated"
    assert migrator("rollback", "-g", root).returncode == 0
    assert snapshot(root) == legacy


def new_file(root: Path, layer: str) -> str:
    (root / "overlay2" / layer / "diff/new").touch()
    return f"overlay2/{layer} was changed"


def new_layer(root: Path, layer: str) -> str:
    (root / "overlay2/new").mkdir()
    return "overlay2/new was added"


def other_link(root: Path, layer: str) -> str:
    name = (root / "overlay2" / layer / "link").read_text()
    (root / "overlay2/l" / name).unlink()
    (root / "overlay2/l" / name).symlink_to("../other/diff")
    return f"overlay2/l/{name} was changed"


def no_layer(root: Path, layer: str) -> str:
    shutil.rmtree(root / "overlay2" / layer)
    return f"overlay2/{layer} was removed"


@pytest.mark.parametrize("change", [new_file, new_layer, other_link, no_layer])
def test_refuses_to_undo_what_was_changed_since(
    change: Callable[[Path, str], str], built: Built
) -> None:
    before = snapshot(built.root)
    convert(built.root)
    reason = change(built.root, built.v1_ids[1])
    changed = snapshot(built.root)
    run = migrator("rollback", "-g", built.root)
    assert run.returncode == 1
    assert reason in run.stderr
    assert snapshot(built.root) == changed
    assert migrator("rollback", "-g", built.root, "--force").returncode == 0
    assert snapshot(built.root) == before


def other_lower(root: Path, layer: str) -> str:
    path = f"overlay2/{layer}/lower"
    (root / path).write_text("l/" + "A" * 26)
    return path


def no_link(root: Path, layer: str) -> str:
    path = f"overlay2/{layer}/link"
    (root / path).unlink()
    return path


def link_elsewhere(root: Path, layer: str) -> str:
    return other_link(root, layer).removesuffix(" was changed")


def other_mode(root: Path, layer: str) -> str:
    (root / "overlay2" / layer / "diff/d1-0").chmod(0o700)
    return f"overlay2/{layer}"


@pytest.mark.parametrize("damage", [other_lower, no_link, link_elsewhere, other_mode])
def test_verify_sees_what_is_wrong_in_overlay2(
    damage: Callable[[Path, str], str], built: Built
) -> None:
    convert(built.root)
    path = damage(built.root, built.v1_ids[1])
    run = migrator("verify", "-g", built.root, "--json", "--quick")
    assert run.returncode == 1
    assert path in {finding["path"] for finding in json.loads(run.stdout)["findings"]}
    if damage is not other_mode:
        # Without a manifest, too.
        shutil.rmtree(built.root / ".migrator-overlay2")
        again = migrator("verify", "-g", built.root, "-s", "overlay2", "--json", "--quick")
        assert path in {finding["path"] for finding in json.loads(again.stdout)["findings"]}
