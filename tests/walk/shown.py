"""What a daemon has, complete, but for what belongs to its storage driver."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from migrator.layer.identity import chain_id
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
        "containers": {
            row["Names"]: _container(daemon, row, directory) for row in daemon.table("ps", "--all")
        },
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


def _container(daemon: Daemon, row: dict[str, str], directory: Path) -> dict[str, Any]:
    name = row["Names"]
    file, unpacked = directory / "container.tar", directory / "container"
    daemon.docker("export", "--output", file, name)
    unpacked.mkdir()
    try:
        subprocess.run(["tar", "-C", unpacked, "-xpf", file], check=True)
        return {
            "id": row["ID"],
            "state": row["State"],
            "changes": sorted(daemon.docker("diff", name).splitlines()),
            **tree(unpacked, besides=set(), links=False),
        }
    finally:
        shutil.rmtree(unpacked)
        file.unlink()


def _image_tree(daemon: Daemon, image: dict[str, Any], directory: Path) -> dict[str, Entry]:
    with _image_root(daemon, image, directory / "image") as root:
        return tree(root, besides=set(), links=False)


@contextmanager
def _image_root(daemon: Daemon, image: dict[str, Any], point: Path) -> Iterator[Path]:
    """The directory with an image's files, as the storage driver shows them to a container."""
    data = image["GraphDriver"]["Data"] or {}
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
        yield _complete_tree(daemon, image)


def _complete_tree(daemon: Daemon, image: dict[str, Any]) -> Path:
    driver = image["GraphDriver"]["Name"]
    top = None
    for diff_id in image["RootFS"]["Layers"]:
        top = chain_id(top, diff_id)
    assert top is not None
    layers = daemon.data_root / "image" / driver / "layerdb" / "sha256"
    layer = layers / top.removeprefix("sha256:")
    below = {"vfs": "vfs/dir", "btrfs": "btrfs/subvolumes"}[driver]
    return daemon.data_root / below / (layer / "cache-id").read_text()
