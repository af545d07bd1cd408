"""Data roots for a storage driver, and copies of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docker.stores import btrfs_at

DRIVERS = ("overlay", "vfs", "btrfs", "overlay2")


@contextmanager
def data_root(driver: str, directory: Path) -> Iterator[Path]:
    """An empty data root below `directory`; with btrfs on a file system of its own."""
    root = directory / "docker" / "root"
    if driver != "btrfs":
        root.mkdir(parents=True)
        yield root
    else:
        with btrfs_at(directory / "btrfs.img", root.parent, 8 << 30):
            root.mkdir()
            yield root


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of a data root that no daemon uses, on the same file system."""
    copy = root.with_name("copy")
    try:
        _copy(root, copy)
        yield copy
    finally:
        remove(copy)


def remove(root: Path) -> None:
    """Remove a data root."""
    for subvolume in _subvolumes(root):
        _btrfs("subvolume", "delete", subvolume)
    shutil.rmtree(root)


def _copy(root: Path, copy: Path) -> None:
    copy.mkdir()
    for entry in root.iterdir():
        if entry.name != "btrfs":
            subprocess.run(["cp", "-a", entry, copy], check=True)
    for subvolume in _subvolumes(root):
        target = copy / subvolume.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        _btrfs("subvolume", "snapshot", subvolume, target)


def _subvolumes(root: Path) -> list[Path]:
    return sorted((root / "btrfs" / "subvolumes").glob("*"))


def _btrfs(*arguments: str | Path) -> None:
    subprocess.run(["btrfs", *arguments], check=True, stdout=subprocess.DEVNULL)
