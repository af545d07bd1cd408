"""Migrated stores for a daemon to run on, and what their legacy metadata says, read anew here."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.command import dump, migrator
from tests.docker.trees import stack

DRIVERS = {
    "docker-1.9.1-overlay": "overlay",
    "docker-1.9.1-overlay-pulled": "overlay",
    "docker-1.9.1-overlay-odd": "overlay",
    "docker-1.7.1-overlay": "overlay",
    "docker-1.7.1-vfs-trees": "vfs",
    "docker-1.9.1-btrfs": "btrfs",
}
# Docker 20.10 does not run on aufs with the kernels of today, but may come from there.
AUFS = dict.fromkeys(("docker-1.9.1-aufs", "docker-1.7.1-aufs", "docker-1.7.1-aufs-trees"), "aufs")
SOURCES = {**DRIVERS, **AUFS}
# One of each driver, for what takes a daemon of its own.
OF_EACH_DRIVER = ("docker-1.9.1-overlay", "docker-1.7.1-vfs-trees", "docker-1.9.1-btrfs")

_TREES = {"overlay": "overlay/{}/root", "vfs": "vfs/dir/{}", "btrfs": "btrfs/subvolumes/{}"}
_WRITABLE = {**_TREES, "overlay": "overlay/{}/upper"}


@dataclass(frozen=True, slots=True)
class Store:
    """A store by name: `legacy` is untouched, `root` a copy of it for the daemon."""

    name: str
    driver: str
    legacy: Path
    root: Path
    golden: dict[str, Any]

    def migrate(self) -> None:
        """Migrate the copy; the result is Docker's own."""
        run = migrator("migrate", "--graph", self.root, "--progress", "none")
        assert run.returncode in (0, 3), run.stderr
        assert dump(self.root, self.driver) == self.golden

    def convert(self) -> None:
        """Migrate the copy to overlay2; the result is Docker's own but for containers' driver."""
        options = ("--target-driver", "overlay2", "--progress", "none")
        run = migrator("migrate", "--graph", self.root, *options)
        assert run.returncode in (0, 3), run.stderr
        assert as_on(self.driver, dump(self.root, "overlay2")) == self.golden

    @property
    def image_ids(self) -> list[str]:
        """All image IDs, `sha256:...`."""
        return [f"sha256:{image}" for image in self.golden["images"]]

    def config(self, image_id: str) -> dict[str, Any]:
        """The config that Docker's own migration gave an image."""
        config: dict[str, Any] = json.loads(self.golden["images"][image_id.removeprefix("sha256:")])
        return config

    def layer_sizes(self, image_id: str) -> list[int]:
        """Sizes in layerdb of an image's layers, bottom first."""
        layers, sizes, parent = self.golden["layers"], [], None
        for diff_id in self.config(image_id)["rootfs"]["diff_ids"]:
            (chain, layer), *others = (
                (chain, layer)
                for chain, layer in layers.items()
                if (layer["diff"], layer["parent"]) == (diff_id, parent)
            )
            assert not others
            parent = f"sha256:{chain}"
            sizes.append(int(layer["size"]))
        return sizes

    def v1_id(self, image_id: str) -> str:
        """A legacy image that became this one."""
        return next(v1 for v1, image in sorted(self.golden["id_map"].items()) if image == image_id)

    def ancestry(self, image_id: str) -> list[dict[str, Any]]:
        """The legacy JSON of an image and of all that it builds on, itself first."""
        found = []
        v1_id: str | None = self.v1_id(image_id)
        while v1_id:
            image = _json(self.legacy / "graph" / v1_id / "json")
            found.append(image)
            override = self.legacy / "graph" / v1_id / "parent"
            digest = image.get("parent_id", "").removeprefix("sha256:")
            v1_id = image.get("parent") or digest
            if override.exists():
                v1_id = override.read_text() or v1_id
        return found

    def tree(self, image_id: str) -> Path:
        """The complete files of an image, as the legacy daemon left them, or showed them."""
        if self.driver == "aufs":
            return self._union(image_id)
        return self.legacy / _TREES[self.driver].format(self.v1_id(image_id))

    def _union(self, image_id: str) -> Path:
        """The branches of an image and all that it builds on, put together."""
        below = None
        for image in reversed(self.ancestry(image_id)):
            directory = self.root.parent / "unions" / image["id"]
            if not directory.exists():
                stack(self.legacy / "aufs/diff" / image["id"], below, directory)
            below = directory
        assert below is not None
        return below

    def containers(self) -> dict[str, dict[str, Any]]:
        """The legacy config of every container that can be migrated, by ID."""
        return {
            container: _json(self.legacy / "containers" / container / "config.json")
            for container, config in self.golden["containers"].items()
            if config is not None
        }

    def not_migrated(self) -> list[str]:
        """Containers whose image is gone."""
        return [c for c, config in self.golden["containers"].items() if config is None]

    def writable(self, container: str) -> Path:
        """The directory that has a container's own files."""
        return self.root / _WRITABLE[self.driver].format(container)


def as_on(driver: str, dumped: dict[str, Any]) -> dict[str, Any]:
    """A dumped store with another storage driver's name."""
    old, new = (
        json.dumps({"Driver": name})[1:-1].replace(" ", "") for name in ("overlay2", driver)
    )
    containers = {
        name: config and config.replace(old, new) for name, config in dumped["containers"].items()
    }
    return {**dumped, "driver": driver, "containers": containers}


@contextmanager
def store_for_daemon(
    name: str,
    directory: Path,
    unpack: Callable[[str], Path],
    golden: Callable[[str], dict[str, Any]],
) -> Iterator[Store]:
    """A private copy of a store below `directory`; btrfs's on a file system of its own."""
    driver = SOURCES[name]
    store = Store(name, driver, unpack(name), directory / "root", golden(name))
    if driver == "btrfs":
        with btrfs_at(directory / "btrfs.img", store.root):
            _copy_with_subvolumes(store.legacy, store.root)
            yield store
    else:
        subprocess.run(["cp", "-a", store.legacy, store.root], check=True)
        yield store
        shutil.rmtree(store.root)


@contextmanager
def btrfs_at(image: Path, point: Path, size: int = 1 << 30) -> Iterator[None]:
    """A new btrfs of `size` bytes in the file `image`, mounted at `point`, a new directory."""
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, stdout=subprocess.DEVNULL)
    point.mkdir()
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--recursive", point], check=True)
        image.unlink()


def _copy_with_subvolumes(legacy: Path, root: Path) -> None:
    """The archives have btrfs subvolumes as plain directories; the driver wants subvolumes."""
    (root / "btrfs" / "subvolumes").mkdir(parents=True)
    for entry in legacy.iterdir():
        if entry.name != "btrfs":
            subprocess.run(["cp", "-a", entry, root], check=True)
    for tree in (legacy / "btrfs" / "subvolumes").iterdir():
        subvolume = root / "btrfs" / "subvolumes" / tree.name
        subprocess.run(
            ["btrfs", "subvolume", "create", subvolume], check=True, stdout=subprocess.DEVNULL
        )
        subprocess.run(["cp", "-a", f"{tree}/.", subvolume], check=True)


def field(document: dict[str, Any], key: str) -> Any:
    """A key's value as Go finds it: whatever its case is."""
    return {name.casefold(): value for name, value in document.items()}.get(key.casefold())


def _json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text("utf-8", "replace"))
    return document
