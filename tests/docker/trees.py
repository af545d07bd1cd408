"""The files of a container, from inside or exported, to be compared with a legacy layer's."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

Entry = tuple[object, ...]

# What Docker itself puts into every container, wherever the image has nothing of that name.
_DOCKERS_OWN = {
    *(".dockerenv", ".dockerinit", "dev", "proc", "sys"),
    *("etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"),
}


def tree(root: Path, *, besides: set[str], links: bool = True) -> dict[str, Entry]:
    """Everything below `root` but for Docker's own and `besides` (and all below these).

    By relative path: mode, owner, device, seconds of a file's mtime, its
    content or target, its capabilities, and, with `links`, the first of its hard links.
    """
    left_out = _DOCKERS_OWN | besides
    found: dict[str, Entry] = {}
    first: dict[int, str] = {}
    for path in _walk(os.fsencode(root), b"", {os.fsencode(name) for name in left_out}):
        name = os.fsdecode(path)
        full = os.path.join(os.fsencode(root), path)
        status = os.lstat(full)
        content: object = None
        if stat.S_ISREG(status.st_mode):
            with open(full, "rb") as file:
                content = hashlib.sha256(file.read()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(full)
        directory = stat.S_ISDIR(status.st_mode)
        found[name] = (
            *(status.st_mode, status.st_uid, status.st_gid, status.st_rdev),
            # Docker's vfs driver, when it copies a tree, knows no time before 1970.
            None if directory else max(status.st_mtime_ns, 0) // 10**9,
            content,
            _capability(full),
            first.setdefault(status.st_ino, name) if links and not directory else None,
        )
    return found


def stack(branch: Path, below: Path | None, directory: Path) -> None:
    """Make `directory` what aufs shows of a branch on the tree `below`."""
    above = os.fsencode(branch)
    if below is None:
        directory.mkdir(parents=True)
    else:
        subprocess.run(["cp", "-a", below, directory], check=True)
    for path in _walk(above, b"", set()):
        name = path.rpartition(b"/")[2]
        target = directory / os.fsdecode(path)
        hidden = []
        if not target.parent.is_dir():
            continue
        if name == b".wh..wh..opq":
            hidden = [target.parent / each for each in os.listdir(target.parent)]
        elif name.startswith(b".wh."):
            hidden = [target.with_name(os.fsdecode(name[4:]))]
        elif not (target.is_dir() and stat.S_ISDIR(os.lstat(os.path.join(above, path)).st_mode)):
            hidden = [target]
        subprocess.run(["rm", "-rf", "--", *hidden], check=True)
    subprocess.run(["cp", "-a", f"{branch}/.", directory], check=True)
    for path in [*_walk(os.fsencode(directory), b"", set())]:
        if path.rpartition(b"/")[2].startswith(b".wh."):
            subprocess.run(["rm", "-rf", "--", directory / os.fsdecode(path)], check=True)


def _walk(root: bytes, below: bytes, left_out: set[bytes]) -> Iterator[bytes]:
    for name in sorted(os.listdir(os.path.join(root, below))):
        path = os.path.join(below, name)
        if path in left_out:
            continue
        yield path
        full = os.path.join(root, path)
        if stat.S_ISDIR(os.lstat(full).st_mode):
            yield from _walk(root, path, left_out)


def _capability(path: bytes) -> bytes | None:
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return None
