"""Opening a data root: which driver is chosen, and what is said when none can be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator import drivers
from migrator.errors import DataRootError, DriverError, PermissionDenied, UsageError
from migrator.legacy.root import open_root

ID = "ab" * 32
PARENT = "cd" * 32


def make(path: Path, *names: str) -> Path:
    """A data root; names that end in `/` become directories."""
    for name in names:
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir() if name.endswith("/") else target.write_bytes(b"{}")
    return path


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("docker-1.9.1-overlay", "overlay"),
        ("docker-1.7.1-aufs", "aufs"),
        ("docker-1.9.1-btrfs", "btrfs"),
        ("docker-1.7.1-vfs-trees", "vfs"),
    ],
)
def test_real_stores_name_their_driver(store: Callable[[str], Path], name: str, driver: str):
    root = open_root(store(name))
    assert (root.driver.name, root.has_store) == (driver, True)
    assert root.driver.complete_trees == (driver != "aufs")
    images = root.graph().images
    assert images
    assert all(root.driver.layer_exists(v1_id) for v1_id in images)


@pytest.mark.parametrize(
    ("names", "driver"),
    [
        (["graph/", "vfs/", "aufs/", "repositories-aufs"], "aufs"),
        (["graph/", "vfs/", "aufs/", "repositories-aufs", "repositories-vfs"], "aufs"),
        (["graph/", "vfs/", "aufs/"], "aufs"),
        (["graph/", "vfs/"], "vfs"),
        (["graph/", "overlay/", "overlay2/", "repositories-overlay"], "overlay"),
        (["graph/", "overlay/", "overlay2/", "vfs/"], "overlay"),
        (["graph/", "overlay/", "repositories-aufs"], "overlay"),
        (["graph/", "aufs/", "overlay/", "repositories-overlay"], "overlay"),
    ],
)
def test_driver_is_detected(tmp_path: Path, names: list[str], driver: str):
    assert open_root(make(tmp_path, *names)).driver.name == driver


def test_driver_can_be_chosen(tmp_path: Path):
    make(tmp_path, "graph/", "aufs/", "overlay/", "repositories-overlay")
    assert open_root(tmp_path, "aufs").driver.name == "aufs"


@pytest.mark.parametrize(
    ("names", "driver", "error", "words"),
    [
        ([], "auto", DataRootError, ["neither graph/ nor image/", "/var/lib/docker"]),
        (["graph/"], "auto", DriverError, ["no storage driver", "overlay"]),
        (["graph/", "aufs/", "btrfs/"], "auto", DriverError, ["aufs, btrfs", "-s"]),
        (
            ["graph/", "aufs/", "btrfs/", "repositories-aufs", "repositories-btrfs"],
            "auto",
            DriverError,
            ["aufs, btrfs", "-s"],
        ),
        (["graph/", "aufs/"], "overlay", DriverError, ["no overlay/", "found: aufs"]),
        (["graph/", "aufs/"], "ext4", UsageError, ["'ext4'", "devicemapper"]),
    ],
)
def test_refusals_name_what_to_do(
    tmp_path: Path, names: list[str], driver: str, error: type[DataRootError], words: list[str]
):
    with pytest.raises(error) as raised:
        open_root(make(tmp_path, *names), driver)
    for word in words:
        assert word in str(raised.value) + raised.value.hint


def test_no_data_root(tmp_path: Path):
    with pytest.raises(DataRootError, match="does not exist"):
        open_root(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataRootError, match="not a directory"):
        open_root(tmp_path / "file")


@pytest.mark.parametrize(("closed", "mode"), [(".", 0o700), (".", 0o744), ("graph", 0o700)])
@pytest.mark.root
def test_without_permission_nothing_is_claimed(tmp_path: Path, closed: str, mode: int):
    make(tmp_path, "graph/", "overlay/")
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    (tmp_path / closed).chmod(mode)
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionDenied) as raised:
            open_root(tmp_path).graph()
    finally:
        os.seteuid(0)
    assert "sudo" in raised.value.hint


@pytest.mark.parametrize(
    ("names", "driver"), [(["image/overlay2/"], "overlay2"), (["image/aufs/", "image/vfs/"], "")]
)
def test_only_a_new_store(tmp_path: Path, names: list[str], driver: str):
    root = open_root(make(tmp_path, *names))
    assert (root.has_store, root.driver_name) == (False, driver)


def test_unknown_storage_option(tmp_path: Path):
    make(tmp_path, "graph/", "overlay/")
    with pytest.raises(DriverError, match=r"dm\.datadev"):
        open_root(tmp_path, storage_opts=["dm.datadev=/dev/sdb"])


@pytest.mark.parametrize(
    ("name", "image", "container", "kind"),
    [
        ("aufs", f"aufs/diff/{ID}/", f"aufs/layers/{ID}", "branch"),
        ("overlay", f"overlay/{ID}/root/", f"overlay/{ID}-init/", "compare"),
        ("btrfs", f"btrfs/subvolumes/{ID}/", f"btrfs/subvolumes/{ID}-init/", "compare"),
        ("vfs", f"vfs/dir/{ID}/", f"vfs/dir/{ID}-init/", "compare"),
    ],
)
def test_layers_of_each_driver(tmp_path: Path, name: str, image: str, container: str, kind: str):
    driver = drivers.get(name, tmp_path)
    layer = container.rstrip("/").rpartition("/")[2]
    assert not driver.layer_exists(ID)
    assert not driver.container_exists(layer)
    make(tmp_path, image, container)
    assert driver.layer_exists(ID)
    assert driver.container_exists(layer)
    assert driver.layer_root(ID) == tmp_path / image
    source = driver.diff_source(ID, PARENT)
    assert (source.kind, source.root) == (kind, tmp_path / image)
    assert source.parent == (driver.layer_root(PARENT) if kind == "compare" else None)
    assert driver.diff_source(ID, None).kind == ("branch" if name == "aufs" else "tree")


def test_init_layer(tmp_path: Path):
    driver = drivers.get("overlay", make(tmp_path, f"overlay/{ID}-init/"))
    assert driver.init_layer(ID) == f"{ID}-init"
    assert driver.init_layer(PARENT) is None


@pytest.mark.parametrize("link", [f"overlay/{ID}", f"overlay/{ID}/root"])
def test_a_linked_layer_does_not_exist(tmp_path: Path, link: str):
    make(tmp_path, "elsewhere/root/", "overlay/")
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    assert not drivers.get("overlay", tmp_path).layer_exists(ID)
