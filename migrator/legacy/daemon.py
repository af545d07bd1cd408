"""Is a Docker daemon using a data root?

A daemon that runs while its store is rewritten loses containers. It leaves
traces that are looked for one after the other: the files that its process has
open, the layers and containers that it has mounted, and the databases that it
has locked. In a container the first is seldom seen, the others are.
"""

from __future__ import annotations

import fcntl
import fnmatch
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers import KNOWN
from migrator.errors import DaemonRunning, FormatError
from migrator.system.files import is_directory, open_regular, refusal
from migrator.system.mountinfo import Mount, Place, join, paths_to, place_of, read_mounts, relative
from migrator.text import shown

PROC = Path("/proc")

_daemon_name = re.compile(r"(?:docker|containerd|moby)")

_containers_file = re.compile(r"containers/[^/]+/.+")
_mounted_layer = re.compile(
    r"(?:overlay2?/[^/]+/merged|(?:aufs|devicemapper)/mnt/[^/]+"
    r"|btrfs/subvolumes/[^/]+|vfs/dir/[^/]+|zfs/graph/[^/]+)(?:/.*)?"
)
# What of a layer may be mounted elsewhere, as a container's root is.
_layer = re.compile(
    r"(?:overlay2?/[^/]+/.+|aufs/(?:diff|mnt)/[^/]+|devicemapper/mnt/[^/]+"
    r"|btrfs/subvolumes/[^/]+|vfs/dir/[^/]+|zfs/graph/[^/]+)(?:/.*)?"
)
_overlay_directory = re.compile(r"(?:^|,)(?:lowerdir\+?|upperdir)=((?:\\.|[^,\\])*)")
_unescaped_colon = re.compile(r"(?<!\\):")

_LOCKED = (
    "network/files/local-kv.db",
    "volumes/metadata.db",
    "containerd/daemon/*/meta.db",
    "buildkit/*.db",
)


@dataclass(frozen=True, slots=True)
class DaemonEvidence:
    """What shows that a daemon uses a data root, as a sentence without full stop."""

    sentence: str

    def __str__(self) -> str:
        return self.sentence


def refuse_daemon(data_root: Path, hint: str = "stop the daemon first") -> None:
    """Raise DaemonRunning when a Docker daemon uses this data root."""
    evidence = find_daemon(data_root)
    if evidence is not None:
        raise DaemonRunning(
            f"a Docker daemon uses it: {evidence}",
            subject=str(data_root),
            hint=hint,
        )


def find_daemon(root: Path, proc: Path = PROC) -> DaemonEvidence | None:
    """The first sign of a Docker daemon that uses the data root `root`, if any.

    Finds one on this host and, from inside a container, on the host of the
    container; other users than root see less. Raises PermissionDenied.
    """
    path = os.path.realpath(root)
    mounts = read_mounts(proc / "self/mountinfo")
    sentence = (
        _in_processes(path, mounts, proc)
        or _in_mounts(path, mounts, mounts)
        or _in_mounts(path, mounts, read_mounts(proc / "1/mountinfo"))
        or _in_locks(Path(path))
    )
    return None if sentence is None else DaemonEvidence(sentence)


def _in_processes(path: str, mounts: Sequence[Mount], proc: Path) -> str | None:
    place = place_of(mounts, path)
    ours = _line_of_processes(proc, os.getpid())
    for pid in sorted(int(name) for name in _names(proc) if name.isascii() and name.isdigit()):
        process = proc / str(pid)
        name = None if pid in ours else _daemon_process(process)
        if name is None:
            continue
        # The process may see the data root elsewhere than we do.
        theirs = read_mounts(process / "mountinfo")
        roots = paths_to(theirs, place) if place and theirs else [path]
        for link in (process / "cwd", process / "root", *_children(process / "fd")):
            target = _link(link)
            if any(relative(target, root) is not None for root in roots):
                name = shown(name)
                return f"the process {name} (PID {pid}) is using {shown(target)}"
    return None


def _daemon_process(process: Path) -> str | None:
    """A process's name, if it looks like a Docker daemon's."""
    first, _, _ = _text(process / "cmdline").partition("\0")
    names = (_text(process / "comm").strip(), _link(process / "exe"), first)
    for name in (name.rpartition("/")[2] for name in names):
        if _daemon_name.match(name):
            return name
    return None


def _line_of_processes(proc: Path, pid: int) -> set[int]:
    """A process and its ancestors."""
    line: set[int] = set()
    while pid and pid not in line:
        line.add(pid)
        # The name, in parentheses, may hold anything.
        fields = _text(proc / str(pid) / "stat").rpartition(")")[2].split()
        pid = int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
    return line


def _in_mounts(path: str, ours: Sequence[Mount], mounts: Sequence[Mount]) -> str | None:
    """Look in `mounts`, of whatever mount namespace, for parts of the data root `path`.

    `ours` is the namespace in which it has this path.
    """
    places = {
        part: place
        for part in ("", "containers", *KNOWN)
        if (place := place_of(ours, join(path, part)))
    }
    roots = {path} if ours is mounts else set()
    if "" in places:
        roots.update(paths_to(mounts, places[""]))
    for mount in mounts:
        what = _part_mounted(mount, roots) or _part_shown(mount, places)
        if what is not None:
            return f"{shown(what)} is mounted at {shown(mount.mount_point)}"
        for directory in _overlay_directories(mount):
            if any(relative(directory, root) for root in roots):
                point = shown(mount.mount_point)
                return f"an overlay of {shown(directory)} is mounted at {point}"
    return None


def _part_mounted(mount: Mount, roots: set[str]) -> str | None:
    """A layer or a container's file as the place where something is mounted."""
    for root in roots:
        below = relative(mount.mount_point, root)
        if below and (_mounted_layer.fullmatch(below) or _containers_file.fullmatch(below)):
            return below
    return None


def _part_shown(mount: Mount, places: Mapping[str, Place]) -> str | None:
    """A layer or a container's file that can be seen at the mount, wherever that is."""
    for part, place in places.items():
        if mount.device == place.device and (below := relative(mount.root, place.path)):
            below = join(part, below) if part else below
            if _layer.fullmatch(below) or _containers_file.fullmatch(below):
                return below
    return None


def _overlay_directories(mount: Mount) -> Iterator[str]:
    if mount.fs_type in ("overlay", "overlayfs"):
        for match in _overlay_directory.finditer(mount.options):
            for directory in _unescaped_colon.split(match[1]):
                yield re.sub(r"\\(.)", r"\1", directory)


def _in_locks(root: Path) -> str | None:
    for pattern in _LOCKED:
        for path in _matching(root, pattern):
            if _is_locked(path):
                return f"the database {shown(str(path))} is locked by another process"
    return None


def _is_locked(path: Path) -> bool:
    try:
        fd = open_regular(path)
    except FormatError:
        return False
    except OSError as error:
        if isinstance(error, PermissionError):
            raise refusal(error, path) from None
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def _matching(directory: Path, pattern: str) -> Iterator[Path]:
    """The files that a pattern names; unlike with Path.glob, no symbolic link leads to them."""
    name, slash, rest = pattern.partition("/")
    for path in (directory / found for found in sorted(fnmatch.filter(_names(directory), name))):
        if not slash:
            yield path
        elif is_directory(path):
            yield from _matching(path, rest)


def _names(directory: Path) -> list[str]:
    """The names in a directory, which may vanish (in `/proc`) or be closed to us."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _children(directory: Path) -> list[Path]:
    return [directory / name for name in _names(directory)]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
