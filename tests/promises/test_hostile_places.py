"""Links and devices where a migration, or what it makes, would have its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stores.hostile import CONTAINER, build, v1_id
from tests.stores.spoiled import (
    Kind,
    outside_of,
    run_all,
    to_directory,
    to_directory_link,
    to_endless,
    to_fifo,
    to_link,
    to_lost_link,
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return outside_of(tmp_path)


@pytest.mark.parametrize("kind", [to_link, to_directory_link, to_lost_link, to_fifo, to_directory])
@pytest.mark.parametrize(
    "name",
    [
        ".migration-diffid",
        ".migration-diffid.new",
        ".migration-size",
        ".migration-size.new",
        ".migration-tardata",
    ],
)
def test_helper_files_that_are_links(name: str, kind: Kind, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root")
    path = root / "graph" / v1_id(0) / name
    kind(path, outside)
    said = run_all(root, outside, "undo")
    assert said["undo"].startswith("0 ")
    assert path.is_dir() is (kind is to_directory)
    if kind is not to_directory:
        kind(path, outside)
    said = run_all(root, outside, "checksums", "undo")
    assert said["checksums"][0] == ("1" if kind is to_directory else "0"), said


@pytest.mark.parametrize("place", ["graph", f"graph/{v1_id(0)}"])
def test_images_that_lie_elsewhere(place: str, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root", 2)
    for image in (root / "graph").iterdir():
        for name in (".migration-diffid", ".migration-size", ".migration-tardata"):
            (image / name).write_bytes(b"another's")
    (root / place).rename(outside / "graph")
    (root / place).symlink_to(outside / "graph")
    run_all(root, outside, "undo", "checksums", "migrate", "undo")


@pytest.mark.parametrize("kind", [to_link, to_endless, to_lost_link, to_fifo, to_directory])
@pytest.mark.parametrize(
    "place",
    [
        ".migration-v1-images.json",
        "image/overlay/repositories.json",
        "image/overlay/imagedb/content/sha256",
        "image/overlay/layerdb/sha256",
        "image/overlay/layerdb/mounts",
        f"containers/{CONTAINER}/hostconfig.json",
        "image/overlay2",
        "overlay2",
        "overlay2/l",
    ],
)
def test_places_in_the_new_store(place: str, kind: Kind, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root", 2)
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).unlink(missing_ok=True)
    kind(root / place, outside)
    run_all(root, outside, "plan", "migrate", "migrate-overlay2", "status", "rollback", "rollback")
