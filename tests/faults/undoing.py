"""Changing one thing in a tree, and nothing else: no other time, inode or attribute."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Thing:
    """What there is at a path. `content` is None for all but regular files."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: Mapping[str, bytes]
    content: bytes | None


def look(path: Path) -> Thing:
    """What is at `path` now; links are not followed."""
    status = path.lstat()
    names = os.listxattr(path, follow_symlinks=False)
    return Thing(
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        {name: os.getxattr(path, name, follow_symlinks=False) for name in names},
        path.read_bytes() if stat.S_ISREG(status.st_mode) else None,
    )


def put(path: Path, thing: Thing) -> None:
    """Make what is at `path` such a thing, without another inode. The order matters:

    writing and a new owner take capabilities and setuid bits away, all change the mtime.
    """
    now = look(path)
    if thing.content is not None and thing.content != now.content:
        with open(path, "r+b") as file:
            file.write(thing.content)
            file.truncate()
    os.chown(path, thing.uid, thing.gid, follow_symlinks=False)
    if not stat.S_ISLNK(thing.mode):
        path.chmod(stat.S_IMODE(thing.mode))
    for name in now.xattrs.keys() - thing.xattrs.keys():
        if name in os.listxattr(path, follow_symlinks=False):
            os.removexattr(path, name, follow_symlinks=False)
    for name, value in thing.xattrs.items():
        os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, ns=(path.lstat().st_atime_ns, thing.mtime_ns), follow_symlinks=False)


@contextmanager
def changed(path: Path, **changes: Any) -> Iterator[None]:
    """Have another `content`, `mode`, `uid`, ... during a `with`, and all else the same."""
    before = look(path)
    put(path, replace(before, **changes))
    try:
        yield
    finally:
        put(path, before)


@contextmanager
def moved(path: Path, aside: Path) -> Iterator[None]:
    """Have `path` at `aside` during a `with`; what stands in its place then is removed."""
    with same_times(path.parent):
        path.rename(aside)
    try:
        yield
    finally:
        with same_times(path.parent):
            remove(path)
            aside.rename(path)


@contextmanager
def same_times(directory: Path) -> Iterator[None]:
    """Leave the directory with the mtime that it had."""
    before = directory.stat()
    yield
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


def remove(path: Path) -> None:
    """Remove what is at `path`, if anything is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
