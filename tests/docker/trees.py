"""The files of a container, from inside or exported, to be compared with a legacy layer's."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

Entry = tuple[object, ...]

# What Docker itself puts into every container, wherever the image has nothing of that name.
_DOCKERS_OWN = {
    *(".dockerenv", ".dockerinit", "dev", "proc", "sys"),
    *("etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"),
}


def tree(root: Path, *, besides: set[str]) -> dict[str, Entry]:
    """Everything below `root` but for Docker's own and `besides` (and all below these).

    By relative path: mode, owner, device, seconds of a file's mtime, its
    content or target, its capabilities, and the first of its hard links.
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
            None if directory else first.setdefault(status.st_ino, name),
        )
    return found


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
