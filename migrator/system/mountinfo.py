"""The kernel's table of mounts, `/proc/<pid>/mountinfo` (see proc(5))."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_octal = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount. `device` is `MAJOR:MINOR`, `root` the path in that file system which is mounted.

    `source` is what was mounted, such as a device or a dataset; `options` are
    those of the file system, such as overlay's `lowerdir=`.
    """

    device: str
    root: str
    mount_point: str
    fs_type: str
    source: str
    options: str


@dataclass(frozen=True, slots=True)
class Place:
    """A directory as a path in a file system, whatever it is mounted as."""

    device: str
    path: str


def read_mounts(path: Path) -> list[Mount]:
    """The mounts in a mountinfo file, in its order; none if it cannot be read."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    return [mount for line in lines if (mount := _parse(line)) is not None]


def own_mounts() -> list[Mount]:
    """The mounts that this thread sees; it may be in a mount namespace of its own."""
    return read_mounts(Path(f"/proc/self/task/{threading.get_native_id()}/mountinfo"))


def mount_of(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The mount that the absolute `path` without symbolic links lies on."""
    above = [mount for mount in mounts if relative(path, mount.mount_point) is not None]
    # The longest hides the others; of equal ones the last is on top.
    return max(reversed(above), key=lambda mount: len(mount.mount_point), default=None)


def place_of(mounts: Sequence[Mount], path: str) -> Place | None:
    """Where in which file system the absolute `path` without symbolic links lies."""
    mount = mount_of(mounts, path)
    if mount is None:
        return None
    return Place(mount.device, join(mount.root, relative(path, mount.mount_point) or ""))


def paths_to(mounts: Iterable[Mount], place: Place) -> list[str]:
    """All paths under which these mounts show a directory."""
    return [
        join(mount.mount_point, below)
        for mount in mounts
        if mount.device == place.device and (below := relative(place.path, mount.root)) is not None
    ]


def relative(path: str, directory: str) -> str | None:
    """`path` relative to `directory`, empty if they are equal; None if it is not below it."""
    if path == directory:
        return ""
    prefix = directory.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def join(directory: str, below: str) -> str:
    """The reverse of `relative`."""
    return f"{directory.rstrip('/')}/{below}" if below else directory


def _parse(line: bytes) -> Mount | None:
    mount, _, file_system = line.partition(b" - ")
    left = [_unescape(field) for field in mount.split(b" ")]
    right = [_unescape(field) for field in file_system.split(b" ", 2)]
    if len(left) < 5 or len(right) < 3:
        return None
    return Mount(left[2], left[3], left[4], *right)


def _unescape(field: bytes) -> str:
    return os.fsdecode(_octal.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field))
