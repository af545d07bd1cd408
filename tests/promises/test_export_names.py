"""Which images `migrator export` takes, and where it writes them."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Layer, Store, build
from migrator import cli
from migrator.commands.export import export as export_images
from migrator.errors import UsageError
from tests.command import migrator, snapshot
from tests.stores.exported import Layout, export

DIGEST = "sha256:" + "ab" * 32
TAGS = {
    "busybox:latest": 0,
    "library/busybox:1": 1,
    "acme/web:v2": 2,
    "localhost:5000/web:latest": 2,
    "example.org/a/b:x": 1,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A legacy store: a line of three images, and one without a name."""
    layers = (Layer(), Layer(0), Layer(1), Layer(files=2))
    built = build(Store("vfs", layers, tags=TAGS), tmp_path_factory.mktemp("names") / "root")
    path = built.root / "repositories-vfs"
    tags = json.loads(path.read_text())
    tags["Repositories"]["acme/web"][DIGEST] = built.v1_ids[1]
    tags["Repositories"]["gone"] = {"1": "ee" * 32}
    path.write_text(json.dumps(tags))
    return built


@pytest.fixture(scope="module")
def migrated(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("migrated") / "root"
    os.system(f"cp -a {built.root} {root}")
    assert migrator("migrate", "-g", root, "-q").returncode == 3
    return root


@pytest.fixture(params=["legacy", "migrated"])
def root(request: pytest.FixtureRequest, built: Built, migrated: Path) -> Path:
    return built.root if request.param == "legacy" else migrated


@pytest.fixture
def image_ids(migrated: Path, built: Built) -> list[str]:
    """By index."""
    images = json.loads((migrated / ".migration-v1-images.json").read_text())
    return [images[v1_id] for v1_id in built.v1_ids]


def exported(root: Path, out: Path, *names: str) -> dict[str, str]:
    """Name to image ID in a layout."""
    export_images(root, out, names, workers=0)
    return Layout.read(out).names


@pytest.mark.parametrize(
    ("asked", "indices"),
    [
        (["busybox"], {0}),
        (["docker.io/library/busybox:latest"], {0}),
        (["library/busybox", "index.docker.io/busybox:1"], {0, 1}),
        (["acme/web:v2"], {2}),
        (["localhost:5000/web"], {2}),
        ([f"acme/web@{DIGEST}"], {1}),
        ([f"acme/web:v2@{DIGEST}"], {1}),
        (["busybox", "busybox:latest", "example.org/a/b:x"], {0, 1}),
    ],
)
def test_names_as_docker_takes_them(
    asked: list[str], indices: set[int], root: Path, image_ids: list[str], tmp_path: Path
) -> None:
    names = exported(root, tmp_path / "out", *asked)
    assert set(names.values()) == {image_ids[index] for index in indices}


def test_an_image_brings_all_its_names(root: Path, image_ids: list[str], tmp_path: Path) -> None:
    names = exported(root, tmp_path / "out", "acme/web:v2")
    assert names == dict.fromkeys(("acme/web:v2", "localhost:5000/web:latest"), image_ids[2])
    assert Layout.read(tmp_path / "out").full_names == {
        "acme/web:v2": "docker.io/acme/web:v2",
        "localhost:5000/web:latest": "localhost:5000/web:latest",
    }


@pytest.mark.parametrize("shorten", [lambda i: i, lambda i: i[7:], lambda i: i[7:19]])
def test_image_ids(root: Path, shorten, image_ids: list[str], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    names = exported(root, tmp_path / "out", shorten(image_ids[3]), "busybox:1")
    assert names[image_ids[3]] == image_ids[3]
    assert names["busybox:1"] == image_ids[1]


@pytest.mark.parametrize("length", [12, 64])
def test_v1_ids_of_a_legacy_store(
    length: int, built: Built, image_ids: list[str], tmp_path: Path
) -> None:
    names = exported(built.root, tmp_path / "out", built.v1_ids[3][:length])
    assert names == {image_ids[3]: image_ids[3]}


def test_no_name_means_all_but_what_only_others_need(
    root: Path, image_ids: list[str], tmp_path: Path
) -> None:
    run = export(root, tmp_path / "out")
    assert set(Layout.read(tmp_path / "out").manifests) == set(image_ids)
    # The migrated store no longer knows of the image that is gone.
    lost = "tag gone:1: its image eeee" in run.stdout
    assert run.returncode == (3 if lost else 0)
    assert lost == (not (root / ".migrator").exists())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("busybox:3", "there is: busybox:1, busybox:latest"),
        ("busibox", "there is: busybox:"),
        ("nothing/like/it", "without a name all images are exported"),
        ("UPPER", "no such image: UPPER"),
        ("0123456789abcdef", "no such image: 0123456789abcdef"),
        ("sha256:" + "0" * 64, "no such image: sha256:000"),
    ],
)
def test_unknown_names(asked: str, message: str, root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        export_images(root, tmp_path / "out", ["acme/web:v2", asked], workers=0)
    assert message in f"{raised.value} {raised.value.hint}"
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_of_several(tmp_path: Path) -> None:
    # More than there are digits.
    layers = tuple(Layer(files=1) for _ in range(17))
    built = build(Store("vfs", layers, tags={}), tmp_path / "root")
    digits = sorted(v1_id[0] for v1_id in built.v1_ids)
    ambiguous = next(one for one, other in pairwise(digits) if one == other)
    with pytest.raises(UsageError, match="beginning of several"):
        export_images(built.root, tmp_path / "out", [ambiguous])


def test_a_name_whose_image_is_gone(built: Built, tmp_path: Path) -> None:
    run = export(built.root, tmp_path / "out", "gone:1", "busybox")
    assert run.returncode == 3
    assert "tag gone:1: its image eeee" in run.stdout
    assert set(Layout.read(tmp_path / "out").names) == {"busybox:latest"}
    alone = export(built.root, tmp_path / "alone", "gone:1")
    assert alone.returncode == 1
    assert "Nothing of" in alone.stdout
    assert not (tmp_path / "alone").exists()


def test_a_store_without_images(tmp_path: Path) -> None:
    (tmp_path / "root/image/overlay2/layerdb").mkdir(parents=True)
    (tmp_path / "root/overlay2").mkdir()
    run = export(tmp_path / "root", tmp_path / "out")
    assert (run.returncode, "nothing to do" in run.stdout) == (0, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "{root}/out"], "nothing is written into the data root"),
        (["-o", "{root}"], "nothing is written into the data root"),
        (["-o", "{tmp}/full"], "is not empty"),
        (["-o", "{tmp}/file"], "is there already"),
        (["-o", "{tmp}/link"], "is there already"),
        (["-o", "{tmp}/no/out"], "no such directory"),
        (["-o", "{tmp}/empty", "--format", "docker-archive"], "is there already"),
        (["-o", "-"], "an OCI image layout is a directory"),
        (["-o", "{tmp}/x", "--format", "docker-archive", "--compression", "zstd"], "cannot load"),
        (["-o", "{tmp}/x", "--compression-level", "9"], "gzip has the levels 0 to 3"),
        (["-o", "{tmp}/x", "--compression", "none", "--compression-level", "1"], "no sense"),
        (["-o", "{tmp}/x", "--no-intermediate", "busybox"], "are never intermediate"),
        ([], "Missing option"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    message: str,
    built: Built,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/index.json").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "empty").mkdir()
    before = snapshot(tmp_path)
    filled = [text.format(root=built.root, tmp=tmp_path) for text in arguments]
    assert cli.run(["export", "-g", str(built.root), "--progress", "none", *filled]) == 2
    assert message in capsys.readouterr().err
    assert snapshot(tmp_path) == before
