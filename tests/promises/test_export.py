"""`migrator export` of real stores: Docker's own IDs, and layouts that other tools take."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legacy_fixtures.build import Built, Store, build, line
from tests.command import migrator, snapshot
from tests.docker.trees import tree
from tests.stores.exported import Layout, contents, export, read_only, sha256, tags
from tests.stores.real import STORES

StoreOf = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

TREES = {"overlay": "overlay/{}/root", "btrfs": "btrfs/subvolumes/{}"}


@pytest.fixture
def built(tmp_path: Path) -> Built:
    return build(Store("overlay", line(3)), tmp_path / "root")


@pytest.mark.parametrize("name", STORES)
def test_all_images_of_a_store_that_nobody_may_write_to(
    name: str, store: StoreOf, golden: Golden, tmp_path: Path
) -> None:
    expected = golden(name)
    with read_only(store(name), tmp_path / "root") as root:
        run = export(root, tmp_path / "out")
    # In that one strings stand for lists, which not every reader takes.
    assert run.returncode == (3 if name.endswith("-odd") else 0), run.stderr
    assert "config.Env is null, not a list" in run.stdout.partition("Worth knowing")[2]

    layout = Layout.read(tmp_path / "out")
    assert {image_id.removeprefix("sha256:") for image_id in layout.manifests} == set(
        expected["images"]
    )
    layout.check_diff_ids()
    named = {name: image for name, image in layout.names.items() if name != image}
    assert named == tags(expected)
    # An image without a name goes by its ID.
    nameless = layout.names.items() - named.items()
    assert {image for _, image in nameless} == set(layout.manifests) - set(named.values())


@pytest.mark.parametrize(
    "name", ["docker-1.9.1-overlay", "docker-1.9.1-btrfs", "docker-1.7.1-overlay"]
)
def test_what_is_unpacked_is_what_the_driver_shows(
    name: str, store: StoreOf, golden: Golden, tmp_path: Path
) -> None:
    driver, v1_ids = STORES[name][0], golden(name)["id_map"]
    export(store(name), tmp_path / "out")
    layout = Layout.read(tmp_path / "out")
    for number, (ref, image_id) in enumerate(layout.names.items()):
        rootfs = layout.unpack(ref, tmp_path / str(number))
        (v1_id, *_) = (v1 for v1, image in sorted(v1_ids.items()) if image == image_id)
        assert tree(rootfs, besides=set()) == tree(
            store(name) / TREES[driver].format(v1_id), besides=set()
        )
        shutil.rmtree(rootfs)


def test_an_aufs_store_unpacks_to_the_same_trees(
    store: StoreOf, golden: Golden, tmp_path: Path
) -> None:
    # It is the overlay store, laid out as aufs does.
    overlay, v1_ids = store("docker-1.9.1-overlay"), golden("docker-1.9.1-aufs")["id_map"]
    export(store("docker-1.9.1-aufs"), tmp_path / "out", "acme/child", "twin/a")
    layout = Layout.read(tmp_path / "out")
    for ref in ("acme/child:latest", "twin/a:latest"):
        (v1_id, *_) = (v1 for v1, image in v1_ids.items() if image == layout.names[ref])
        rootfs = layout.unpack(ref, tmp_path / ref.replace("/", "-"))
        assert tree(rootfs, besides=set()) == tree(overlay / f"overlay/{v1_id}/root", besides=set())


@pytest.mark.parametrize("name", ["docker-1.9.1-aufs", "docker-1.7.1-overlay"])
def test_a_migrated_store_gives_the_same(
    name: str, store: StoreOf, store_copy: StoreOf, golden: Golden, tmp_path: Path
) -> None:
    root = store_copy(name)
    assert migrator("migrate", "-g", root, "-q").returncode == 3
    # Only what Docker >= 1.10 reads counts then.
    shutil.rmtree(root / "graph")
    before = snapshot(root)
    assert export(root, tmp_path / "migrated").returncode == 0
    assert snapshot(root) == before
    export(store(name), tmp_path / "legacy")
    assert contents(tmp_path / "migrated") == contents(tmp_path / "legacy")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_skopeo_takes_every_compression(compression: str, store: StoreOf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--compression", compression, "acme/app:1.0")
    assert export(store("docker-1.9.1-overlay"), out, *arguments).returncode == 0
    layout = Layout.read(out)
    image_id = layout.names["acme/app:1.0"]
    assert layout.full_names["acme/app:1.0"] == "docker.io/acme/app:1.0"

    reference = f"oci:{out}:acme/app:1.0"
    inspected = skopeo("inspect", "--raw", reference)
    assert inspected["config"]["digest"] == image_id
    suffix = "" if compression == "none" else f"+{compression}"
    media_types = {layer["mediaType"] for layer in inspected["layers"]}
    assert media_types == {f"application/vnd.oci.image.layer.v1.tar{suffix}"}
    assert skopeo("inspect", "--config", "--raw", reference) == layout.config(image_id)

    # It unpacks them itself, and holds them against the diffIDs of the config.
    copy = tmp_path / "copy"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--dest-decompress", reference, f"dir:{copy}"], check=True
    )
    manifest = json.loads((copy / "manifest.json").read_text())
    assert manifest["config"]["digest"] == image_id
    layers = [layer["digest"] for layer in manifest["layers"]]
    assert layers == layout.config(image_id)["rootfs"]["diff_ids"]
    for digest in layers:
        assert sha256((copy / digest.removeprefix("sha256:")).read_bytes()) == digest


def skopeo(*arguments: str) -> Any:
    return json.loads(
        subprocess.run(["skopeo", *arguments], check=True, capture_output=True).stdout
    )


def test_without_intermediate_images_what_a_user_sees(
    store: StoreOf, golden: Golden, tmp_path: Path
) -> None:
    name = "docker-1.9.1-overlay"
    export(store(name), tmp_path / "out", "--no-intermediate")
    expected = golden(name)
    parents = {
        metadata["parent"].removeprefix("sha256:")
        for metadata in expected["image_metadata"].values()
        if metadata.get("parent")
    }
    tagged = {image.removeprefix("sha256:") for image in tags(expected).values()}
    exported = {i.removeprefix("sha256:") for i in Layout.read(tmp_path / "out").manifests}
    assert exported == tagged | (set(expected["images"]) - parents)
    assert len(exported) < len(expected["images"])


def test_an_archive_is_the_same_on_standard_output_and_every_time(
    store: StoreOf, golden: Golden, tmp_path: Path
) -> None:
    root = store("docker-1.9.1-overlay")
    archive = tmp_path / "images.tar"
    assert export(root, archive, "--format", "docker-archive", "--workers", "2").returncode == 0
    command = [sys.executable, "-m", "migrator", "export", "-g", root, "-o", "-"]
    command += ["--format", "docker-archive", "--workers", "3"]
    assert subprocess.run(command, check=True, capture_output=True).stdout == archive.read_bytes()

    with tarfile.open(archive) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    manifest = json.loads(contents["manifest.json"])
    names = {tag: image["Config"] for image in manifest for tag in image["RepoTags"] or ()}
    expected = tags(golden("docker-1.9.1-overlay"))
    assert names == {tag: f"{i.removeprefix('sha256:')}.json" for tag, i in expected.items()}
    for image in manifest:
        config = contents[image["Config"]]
        assert sha256(config) == f"sha256:{image['Config'].removesuffix('.json')}"
        assert [sha256(contents[path]) for path in image["Layers"]] == json.loads(config)["rootfs"][
            "diff_ids"
        ]
    layers = [path for image in manifest for path in image["Layers"]]
    assert contents.keys() == {"manifest.json", *layers, *names.values()} | {
        image["Config"] for image in manifest
    }


def test_large_files_and_many_workers(tmp_path: Path) -> None:
    store = Store("overlay", line(2, files=2, file_size=3 << 20))
    built = build(store, tmp_path / "root")
    assert export(built.root, tmp_path / "out", "app", "--workers", "4").returncode == 0
    layout = Layout.read(tmp_path / "out")
    layout.check_diff_ids()
    config = layout.config(layout.names["app:latest"])
    assert config["rootfs"]["diff_ids"] == list(built.diff_ids)


def test_a_record_that_fails_halfway_gives_what_the_migration_gives(tmp_path: Path) -> None:
    built = build(Store("vfs", line(2, files=8, file_size=2 << 20)), tmp_path / "root")
    # The last file that the record names.
    changed = built.root / "vfs/dir" / built.v1_ids[0] / "d0-3/file7"
    changed.write_bytes(b"x" * (2 << 20))
    run = export(built.root, tmp_path / "out", "base:1")
    assert run.returncode == 0
    assert "its tar-split record was of no use (d0-3/file7" in run.stdout
    layout = Layout.read(tmp_path / "out")
    layout.check_diff_ids()
    assert migrator("migrate", "-g", built.root, "-q").returncode == 0
    images = json.loads((built.root / ".migration-v1-images.json").read_text())
    assert layout.names["base:1"] == images[built.v1_ids[0]]


def test_legacy_images_beside_those_of_a_newer_docker(tmp_path: Path) -> None:
    built = build(Store("overlay", line(3), earlier=True), tmp_path / "root")
    run = export(built.root, tmp_path / "out")
    assert run.returncode == 3
    assert "tag app:latest: it exists already and is another image" in run.stdout
    layout = Layout.read(tmp_path / "out")
    migrator("migrate", "-g", built.root, "-q")
    references = json.loads((built.root / "image/overlay/repositories.json").read_text())
    names = {k: i for keys in references["Repositories"].values() for k, i in keys.items()}
    assert {n: i for n, i in layout.names.items() if n != i} == names
    layout.check_diff_ids()


def test_report(built: Built, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = export(built.root, tmp_path / "out", "--report", str(report), "-q")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    document = json.loads(report.read_text())
    assert (document["command"], document["format"], document["exit_code"]) == ("export", "oci", 0)
    assert {layer["diff_id"] for layer in document["layers"]} == set(built.diff_ids)
    layout = Layout.read(tmp_path / "out")
    assert {i["image_id"]: i["names"] for i in document["images"]} == {
        image: [] if name == image else [name] for name, image in layout.names.items()
    }
    assert document["bytes"] == sum(layer["tar_bytes"] for layer in document["layers"])
    assert document["blob_bytes"] == sum(layer["blob_bytes"] for layer in document["layers"])


def test_progress_as_json_lines(built: Built, tmp_path: Path) -> None:
    run = migrator("export", "-g", built.root, "-o", tmp_path / "out", "--progress", "json")
    events = [json.loads(text) for text in run.stderr.splitlines()]
    assert sum(event["event"] == "layer_done" for event in events) == 3
    assert (events[-1]["event"], events[-1]["exit_code"], run.stdout) == ("summary", 0, "")
