"""Finding the datasets of a store (Docker 1.9 daemon/graphdriver/zfs).

A layer is a child of one dataset, the one that the data root lies on unless
`zfs.fsname` names another. Its own name is the layer ID.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers.zpool import commands
from migrator.errors import DriverError
from migrator.system.mountinfo import Mount, mount_of, own_mounts
from migrator.text import shown

RESTORE = "docker-store-migrator:restore"
"""The user property in which a dataset that was changed says what to put back."""

_TYPES = ("zfs", "fuse.zfs", "fuse")

# zfs(8): components of these characters; the first is no option's hyphen.
_NAME = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.: -]*(/[A-Za-z0-9_.:][A-Za-z0-9_.: -]*)*")


@dataclass(frozen=True, slots=True)
class Property:
    """A dataset's property; `source` is `local`, `default`, `inherited from ...`, `received`."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file system; `restore` is its own property RESTORE, if it has it."""

    name: str
    mounted: bool
    mountpoint: Property
    readonly: Property
    restore: str | None


@dataclass(frozen=True, slots=True)
class Datasets:
    """The children of a dataset by layer ID, and where those are that are mounted."""

    children: Mapping[str, Dataset]
    places: Mapping[str, Path]

    @classmethod
    def below(cls, parent: str) -> Datasets:
        """List the datasets below `parent`; raises DriverError."""
        children = {each.name.rpartition("/")[2]: each for each in _children(parent)}
        mounted = places()
        return cls(
            children,
            {id: mounted[each.name] for id, each in children.items() if each.name in mounted},
        )


def checked_name(name: str) -> str:
    """`name`, if it is a dataset's; raises DriverError if no dataset can be called so."""
    if _NAME.fullmatch(name) is None or not {".", ".."}.isdisjoint(name.split("/")):
        raise DriverError(f"{shown(name)!r} is no name of a dataset", hint="POOL/DATASET is one")
    return name


def parent_of_layers(data_root: Path) -> str:
    """The dataset that the data root lies on; raises DriverError."""
    mount = mount_of(own_mounts(), os.path.realpath(data_root))
    if mount is not None and mount.fs_type in _TYPES:
        return checked_name(mount.source)
    raise DriverError(
        f"lies on {mount.fs_type if mount else 'an unknown file system'}, not on zfs",
        subject=str(data_root),
        hint="mount its dataset there (its pool may have to be imported first: zpool import), or"
        " name the one that has the layers with --storage-opt zfs.fsname=POOL/DATASET",
    )


def places() -> dict[str, Path]:
    """Where this process sees which dataset mounted."""
    mounts = own_mounts()
    return {mount.source: Path(mount.mount_point) for mount in mounts if _shows(mounts, mount)}


def dataset_at(place: Path) -> str | None:
    """The dataset that is mounted at `place`, an absolute path without symbolic links."""
    mount = mount_of(own_mounts(), str(place))
    return mount.source if mount is not None and mount.mount_point == str(place) else None


def _shows(mounts: Sequence[Mount], mount: Mount) -> bool:
    """Whether it is a whole dataset that no other mount hides."""
    whole = mount.fs_type in _TYPES and mount.root == "/"
    return whole and mount_of(mounts, mount.mount_point) is mount


def _children(parent: str) -> Iterator[Dataset]:
    wanted = ("type", "mounted", "mountpoint", "readonly", RESTORE)
    table: dict[str, dict[str, Property]] = {}
    # zfs-fuse's `list` tells no sources.
    columns = ("-o", "name,property,value,source")
    for line in commands.zfs(
        "get", "-rHp", "-d", "1", *columns, ",".join(wanted), checked_name(parent)
    ).split("\n"):
        fields = line.split("\t")
        if len(fields) == 4:
            table.setdefault(fields[0], {})[fields[1]] = Property(*fields[2:])
    for name, properties in table.items():
        if not name.startswith(f"{parent}/") or _NAME.fullmatch(name) is None:
            continue
        if len(properties) == len(wanted) and properties["type"].value == "filesystem":
            restore = properties[RESTORE]
            yield Dataset(
                name,
                properties["mounted"].value == "yes",
                properties["mountpoint"],
                properties["readonly"],
                # A child has what its parent has: that is not about the child.
                restore.value if restore.source == "local" else None,
            )
