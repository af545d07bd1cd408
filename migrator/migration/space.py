"""Whether the disk has room for what a migration is going to write.

Everything it writes is metadata, most of it in files far smaller than a block:
counted is what they take up at most, so that a run that is begun can end.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import StoreError
from migrator.layer.task import LayerTask
from migrator.migration.plan import Plan
from migrator.system import disk
from migrator.text import quantity

# Files and directories made for each, some to spare.
_FILES_AN_IMAGE = 16
_FILES_A_CONTAINER = 12
_FILES = 32

# Times that an image's json, or a container's two, are written, in part at least.
_COPIES = 3

# Bytes that each ancestor adds to a config: its diffID, its history.
_PER_ANCESTOR = 1024

# Bytes of manifest and journal for a file.
_PER_FILE = 512

# Bytes of a new tar-split record: some for every byte of the layer (it was a
# four hundredth on distributions' images), some for however small a layer.
_RECORD_SHARE = 50
_RECORD_LEAST = 64 << 10


@dataclass(frozen=True, slots=True)
class Need:
    """An amount of disk space: bytes, and the number of files."""

    size: int
    files: int

    def __add__(self, other: Need) -> Need:
        return Need(self.size + other.size, self.files + other.files)

    def __sub__(self, other: Need) -> Need:
        return Need(self.size - other.size, self.files - other.files)


NOTHING = Need(0, 0)


def check_space(path: Path, need: Need) -> None:
    """Raise StoreError when the file system of `path` has less than what is needed."""
    with disk.operation("statfs", path):
        free = os.statvfs(path)
    lacking = None
    if need.size > (available := free.f_bavail * free.f_frsize):
        lacking = f"{quantity(need.size)} are needed, {quantity(available)} are free"
    # Some file systems make inodes as needed, and say 0 of 0.
    elif free.f_files and need.files > free.f_favail:
        lacking = f"{need.files} inodes are needed, {free.f_favail} are free"
    if lacking is not None:
        raise StoreError(
            f"the disk is too full for the migration: {lacking}",
            subject=str(path),
            hint="nothing was published; free some space and run the same command again",
        )


def block_size(path: Path) -> int:
    """Bytes that the smallest file takes up on the file system of `path`."""
    with disk.operation("statfs", path):
        return os.statvfs(path).f_frsize


class Space:
    """What a plan needs, less as its layers are hashed; compared with what the disk has."""

    def __init__(self, plan: Plan) -> None:
        self._path = plan.root.path
        self._block = block_size(self._path)
        self._records = {task.v1_id: Need(self._of_record(task), 1) for task in plan.tasks}
        self.need = sum(self._records.values(), self._of_metadata(plan))
        """What is still to be written."""

    def hashed(self, v1_id: str) -> None:
        """A layer is done, its record written if it needed one."""
        self.need -= self._records.pop(v1_id, NOTHING)

    def check(self) -> None:
        """Raise StoreError when the file system has less than what is needed."""
        check_space(self._path, self.need)

    def _of_metadata(self, plan: Plan) -> Need:
        depths: dict[str | None, int] = {None: 0}
        size, files = 0, _FILES
        for image in plan.images:
            depths[image.v1_id] = depths[image.parent] + 1
            if image.v1_id not in plan.migrated:
                size += _COPIES * len(image.json) + _PER_ANCESTOR * depths[image.v1_id]
                files += _FILES_AN_IMAGE
        for container in plan.containers:
            size += _COPIES * (len(container.config) + len(container.hostconfig or b""))
            files += _FILES_A_CONTAINER
        return Need(size + files * (self._block + _PER_FILE), files)

    def _of_record(self, task: LayerTask) -> int:
        if task.record is not None or _exists(task.new_record):
            return 0
        return _RECORD_LEAST + task.size // _RECORD_SHARE


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
