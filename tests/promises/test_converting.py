"""`migrate --target-driver overlay2` of legacy stores: what comes of it, and what stays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Container, Layer, Store, build, line
from migrator.commands import checksums as checksumming
from migrator.conversion import tasks
from migrator.errors import StoreError
from migrator.tree.overlaydir import Transfer
from tests.command import dump, migrator, snapshot
from tests.crash.faults import Fault, run
from tests.stores.converted import check_overlay2, convert, stack

CONTAINERS = (Container("db"), Container("web", 2, {"database": "db"}))
FORKED = (Layer(None), Layer(0), Layer(1), Layer(0))


@pytest.fixture
def built(memory: Path) -> Built:
    return build(Store("aufs", FORKED, containers=CONTAINERS), memory / "root")


@pytest.mark.parametrize("driver", ["aufs", "overlay", "btrfs", "vfs"])
def test_docker_finds_what_it_expects(driver: str, memory: Path) -> None:
    built = build(Store(driver, FORKED, containers=CONTAINERS), memory / "root")
    before = snapshot(built.root)
    run = migrator("migrate", "-g", built.root, "--target-driver", "overlay2")
    assert (run.returncode, run.stdout.count("8 directories for overlay2")) == (0, 1), run.stdout
    check_overlay2(built.root)
    made = dump(built.root, "overlay2")
    assert {layer["cache-id"] for layer in made["layers"].values()} == set(built.v1_ids)
    assert {f"sha256:{chain}" for chain in made["layers"]} == set(built.chain_ids)
    assert all('"Driver":"overlay2"' in config for config in made["containers"].values())
    assert made["links"][built.container_ids["web"]] == ["/db:database"]
    after = snapshot(built.root)
    changed = [path for path in before if after[path] != before[path]]
    assert all(path.endswith("/hostconfig.json") for path in changed)
    assert not (built.root / f"image/{driver}").exists()
    assert migrator("verify", "-g", built.root, "--deep").returncode == 0


def test_images_are_linked_and_containers_copied(built: Built) -> None:
    container = built.container_ids["web"]
    mine = built.root / "aufs/diff" / container / "mine"
    mine.write_text("of the container")
    summary = convert(built.root)
    for v1_id in built.v1_ids:
        for path in (built.root / "aufs/diff" / v1_id).glob("d*/file*"):
            other = built.root / "overlay2" / v1_id / "diff" / path.parent.name / path.name
            assert path.samefile(other)
    copy = built.root / "overlay2" / container / "diff/mine"
    assert copy.read_text() == "of the container"
    assert not copy.samefile(mine)
    assert summary.conversion is not None
    assert summary.conversion.copied == len("of the container")


def test_report_and_preview(built: Built, tmp_path: Path) -> None:
    options = ("-g", built.root, "--target-driver", "overlay2")
    before = snapshot(built.root)
    plan = json.loads(migrator("plan", *options, "--json").stdout)
    assert snapshot(built.root) == before
    assert (plan["target_driver"], plan["layers_to_build"], plan["way"]) == (
        *("overlay2", 4, "hard link"),
    )
    assert plan["legacy"]["layers_to_hash"] == 4
    assert "4 layers" in migrator("plan", *options).stdout

    migrator("migrate", *options, "--report", tmp_path / "report")
    report = json.loads((tmp_path / "report").read_text())
    assert list(report["phases"]) == ["read", "plan", "hash", "convert", "rewrite", "publish"]
    conversion = report["conversion"]
    assert (report["driver"], report["target_driver"]) == ("aufs", "overlay2")
    assert (conversion["built"], conversion["whiteouts"]) == (8, 3)
    assert conversion["linked"] == plan["bytes_to_build"]

    assert json.loads(migrator("plan", *options, "--json").stdout)["nothing_to_do"]
    assert "already migrated to overlay2" in migrator("migrate", *options).stdout


def test_names_that_are_taken(built: Built) -> None:
    taken = built.root / "overlay2" / built.v1_ids[1]
    taken.mkdir(parents=True)
    (taken / "other").touch()
    convert(built.root)
    (layer,) = (
        layer
        for chain, layer in dump(built.root, "overlay2")["layers"].items()
        if f"sha256:{chain}" == built.chain_ids[1]
    )
    assert layer["cache-id"] != built.v1_ids[1]
    assert (built.root / "overlay2" / layer["cache-id"] / "diff").is_dir()
    assert os.listdir(taken) == ["other"]
    assert stack(built.root, built.chain_ids[2])[1] == layer["cache-id"]
    assert migrator("rollback", "-g", built.root).returncode == 0
    assert os.listdir(built.root / "overlay2") == [built.v1_ids[1]]


def test_chain_that_is_too_long(memory: Path) -> None:
    built = build(
        Store("aufs", line(127, files=1, file_size=1), tags={"a:1": 126}), memory / "root"
    )
    plan = migrator("plan", "-g", built.root, "--target-driver", "overlay2")
    run = migrator("migrate", "-g", built.root, "--target-driver", "overlay2")
    for told in (plan, run):
        assert told.returncode == 3
        assert f"{built.v1_ids[125]}: it has more than 125 layers" in told.stdout
        assert f"{built.v1_ids[126]}: it builds on {built.v1_ids[125]}" in told.stdout
        assert "tag a:1" in told.stdout
    assert len(dump(built.root, "overlay2")["layers"]) == 125
    check_overlay2(built.root)


def test_layer_that_cannot_be_built(built: Built) -> None:
    """A layer without content of its own is hashed all the same."""
    os.setxattr(built.root / "aufs/diff" / built.v1_ids[1] / "d1-0", "trusted.overlay.opaque", b"y")
    run = migrator("migrate", "-g", built.root, "--target-driver", "overlay2")
    assert run.returncode == 3
    assert f"layer {built.v1_ids[1]}: " in run.stdout
    assert f"image {built.v1_ids[2]}: it builds on {built.v1_ids[1]}" in run.stdout
    made = dump(built.root, "overlay2")
    assert set(made["id_map"]) == {built.v1_ids[0], built.v1_ids[3]}
    check_overlay2(built.root)


def test_images_beside_the_legacy_store_come_along(memory: Path) -> None:
    built = build(Store(layers=line(2), earlier=True), memory / "root")
    run = migrator("migrate", "-g", built.root, "--target-driver", "overlay2")
    assert run.returncode == 3
    assert "tag app:latest: it exists already and is another image" in run.stdout
    found = dump(built.root, "overlay2")
    assert found["images"].keys() > dump(built.root, "overlay")["images"].keys()
    assert {x.removeprefix("sha256:") for x in found["id_map"].values()} < {*found["images"]}
    assert {*found["repositories"]["Repositories"]} == {"app", "base", "pulled"}
    assert len(found["layers"]) == 2
    check_overlay2(built.root)


def test_layers_that_were_hashed_before_are_kept(built: Built) -> None:
    checksumming.checksums(built.root, workers=0)
    summary = convert(built.root)
    assert [layer.kept for layer in summary.layers] == [True] * 4


def test_goes_on_with_the_trees_that_are_built(built: Built) -> None:
    arguments = ["migrate", "-g", built.root, "-q", "--target-driver", "overlay2"]
    points = run(arguments).points
    assert migrator("rollback", "-g", built.root).returncode == 0
    sealed = f"write {built.root}/.migrator-overlay2/manifest.json.new"
    run(arguments, fault=Fault.KILL, point=points.index(sealed))
    trees = built.root / ".migrator-overlay2/trees/overlay2"
    (trees / built.v1_ids[1] / "diff/d1-0").chmod(0o700)

    conversion = convert(built.root).conversion

    assert conversion is not None
    # Of four layers, one was changed; what is of two containers is always copied anew.
    assert (conversion.kept, conversion.built) == (3, 5)
    check_overlay2(built.root)
    assert migrator("verify", "-g", built.root, "--deep").returncode == 0


def test_too_little_space_for_copies(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are expected to do, and it turns out that they don't."""
    before = snapshot(built.root)
    state = built.root / ".migrator-overlay2"
    monkeypatch.setattr(tasks, "choose_transfer", lambda *_, **__: Transfer.COPY)
    statvfs = os.statvfs

    def little(path: Path) -> os.statvfs_result:
        values = [*statvfs(path)]
        if path == state:
            # f_bavail
            values[4] = 100
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", little)
    with pytest.raises(StoreError, match=r"too full for the migration: .*, 409"):
        convert(built.root)
    assert snapshot(built.root, without=(state.name,)) == before
