"""What a daemon has, complete, but for what belongs to its storage driver."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from migrator.layer.identity import chain_of, hex_part
from tests.docker.daemon import Daemon
from tests.docker.trees import Entry, tree

Shown = dict[str, dict[str, Any]]


def described(daemon: Daemon, directory: Path) -> Shown:
    """Images, names and containers, with all files that they show.

    Whether files are hard links of one another is left out: between layers,
    drivers differ in that.
    """
    images = sorted({row["ID"] for row in daemon.table("images", "--all")})
    inspected = daemon.inspect("image", *images) if images else []
    ids = daemon.docker("ps", "--all", "--quiet", "--no-trunc").split()
    containers = daemon.inspect("container", *ids) if ids else []
    names = {
        f"{row['Repository']}:{row['Tag']}": row["ID"]
        for row in daemon.table("images")
        if row["Repository"] != "<none>"
    }
    return {
        "names": names,
        "configs": {
            each["Id"]: {key: each[key] for key in ("RootFS", "Parent", "Config", "Created")}
            for each in inspected
        },
        "trees": {each["Id"]: _image_tree(daemon, each, directory) for each in inspected},
        "containers": {each["Name"]: _container(daemon, each, directory) for each in containers},
    }


def difference(before: Shown, after: Shown) -> str:
    """Where two of them first differ, in words; empty if they do not."""
    for kind in before:
        for name in sorted(before[kind].keys() | after[kind].keys()):
            old, new = before[kind].get(name), after[kind].get(name)
            if old == new:
                continue
            if isinstance(old, dict) and isinstance(new, dict):
                keys = [k for k in {**old, **new} if old.get(k) != new.get(k)]
                few = [f"{key}: {old.get(key)} became {new.get(key)}" for key in keys[:5]]
                return f"{kind} {name}: " + "; ".join(few)
            return f"{kind} {name}: {old} became {new}"
    return ""


def _container(daemon: Daemon, container: dict[str, Any], directory: Path) -> dict[str, Any]:
    with _root(daemon, container, directory / "mounted") as root:
        return {
            "id": container["Id"],
            "image": container["Image"],
            "state": container["State"]["Status"],
            "changes": sorted(daemon.docker("diff", container["Id"]).splitlines()),
            **tree(root, besides=set(), links=False),
        }


def _image_tree(daemon: Daemon, image: dict[str, Any], directory: Path) -> dict[str, Entry]:
    with _root(daemon, image, directory / "mounted") as root:
        return tree(root, besides=set(), links=False)


@contextmanager
def _root(daemon: Daemon, inspected: dict[str, Any], point: Path) -> Iterator[Path]:
    """The files of an image or a container as its storage driver shows them."""
    data = inspected["GraphDriver"]["Data"] or {}
    if "RootDir" in data:
        yield Path(data["RootDir"])
    elif "UpperDir" in data:
        lower = ":".join(filter(None, (data["UpperDir"], data.get("LowerDir"))))
        # One directory alone is no overlay.
        options = f"lowerdir={lower}" if ":" in lower else f"lowerdir={lower}:{point}"
        point.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)
    else:
        yield _complete_tree(daemon, inspected)


def _complete_tree(daemon: Daemon, inspected: dict[str, Any]) -> Path:
    """Where a driver has the complete tree that it does not tell of."""
    driver = inspected["GraphDriver"]["Name"]
    layerdb = daemon.data_root / "image" / driver / "layerdb"
    if "RootFS" in inspected:
        chain = chain_of(inspected["RootFS"]["Layers"])
        assert chain is not None
        name = layerdb / "sha256" / hex_part(chain) / "cache-id"
    else:
        name = layerdb / "mounts" / inspected["Id"] / "mount-id"
    below = {"vfs": "vfs/dir", "btrfs": "btrfs/subvolumes"}[driver]
    return daemon.data_root / below / name.read_text()
