"""The stores that faults are put into, and what there is in them."""

from __future__ import annotations

import enum
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from migrator import drivers
from migrator.commands import migrate as migration
from migrator.drivers import Driver
from migrator.state.manifest import Manifest
from migrator.verification.coverage import Coverage
from tests.conftest import STORES

OVERLAY2 = "overlay2"

# Each with the driver it is migrated to, if it is not migrated in place.
ROOTS = (
    ("docker-1.9.1-overlay", None),
    ("docker-1.9.1-overlay-pulled", None),
    ("docker-1.9.1-aufs", None),
    ("docker-1.9.1-btrfs", None),
    ("docker-1.7.1-vfs-trees", None),
    ("docker-1.9.1-overlay", OVERLAY2),
    ("docker-1.9.1-aufs", OVERLAY2),
    ("docker-1.7.1-vfs-trees", OVERLAY2),
)

_RECORD = "tar-split.json.gz"


class Place(enum.StrEnum):
    """What a thing in a data root belongs to."""

    METADATA = "metadata"
    CONFIG = "container's config"
    RECORD = "tar-split record"
    SHORT_NAME = "short name"
    OWN = "layer, its own"
    INHERITED = "layer, inherited"
    WRITABLE = "container's layer"
    STATE = "`.migrator*`"


IN_LAYERS = frozenset((Place.OWN, Place.INHERITED, Place.WRITABLE))


@dataclass(frozen=True)
class MigratedRoot:
    """A migrated store: where, its new driver, and all things in it that can be damaged."""

    name: str
    path: Path
    things: dict[Place, list[Path]]

    @property
    def aside(self) -> Path:
        """Where something can be moved to, on the same file system."""
        return self.path.with_name("aside")


def make(store: str, target: str | None, directory: Path) -> MigratedRoot:
    """Unpack and migrate a store into the new `directory`."""
    root = directory / "root"
    root.mkdir(parents=True)
    options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp"]
    archive = STORES / f"{store}.tar.xz"
    subprocess.run(["tar", "-C", root, *options, "-xpJf", archive], check=True)
    driver = migration.migrate(root, target_driver=target, workers=0).driver
    things: dict[Place, list[Path]] = {place: [] for place in Place}
    for place, path in _things(root, target or driver):
        things[place].append(path)
    return MigratedRoot(f"{store} to {target}" if target else store, root, things)


def _things(root: Path, name: str) -> Iterator[tuple[Place, Path]]:
    driver = drivers.get(name, root)
    for path in below(root / "image" / name):
        yield Place.RECORD if path.name == _RECORD else Place.METADATA, path
    yield from ((Place.METADATA, path) for path in sorted(root.glob(".migration-v1-*")))
    for state in sorted(root.glob(".migrator*")):
        yield from ((Place.STATE, path) for path in below(state))
        for entry in Manifest.load(state / "manifest.json").files:
            if entry.path.startswith("containers/"):
                yield Place.CONFIG, root / entry.path
    layers = root / "image" / name / "layerdb"
    for layer in sorted(layers.glob("sha256/*")):
        yield from _layer(driver, layer)
    for mount in sorted(layers.glob("mounts/*/mount-id")):
        yield from _writable(driver, mount.read_text())
    if name == OVERLAY2:
        for path in sorted(root.glob("overlay2/l/*")):
            yield Place.SHORT_NAME, path
        for path in sorted((*root.glob("overlay2/*/link"), *root.glob("overlay2/*/lower"))):
            yield Place.SHORT_NAME, path


def _layer(driver: Driver, layer: Path) -> Iterator[tuple[Place, Path]]:
    top = driver.layer_root((layer / "cache-id").read_text())
    own = Coverage(layer / _RECORD, top).recorded
    for path in below(top):
        inside = os.fsencode(path.relative_to(top))
        inherited = driver.complete_trees and inside not in own
        yield Place.INHERITED if inherited else Place.OWN, path


def _writable(driver: Driver, mount_id: str) -> Iterator[tuple[Place, Path]]:
    top = driver.layer_root(mount_id)
    if driver.name == "overlay":
        top = top.with_name("upper")
    yield from ((Place.WRITABLE, path) for path in below(top))


def below(directory: Path) -> Iterator[Path]:
    """All that is below a directory, in order."""
    for at, directories, files in os.walk(directory):
        directories.sort()
        yield from (Path(at, name) for name in sorted((*directories, *files)))
