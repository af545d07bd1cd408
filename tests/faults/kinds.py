"""The kinds of fault: what each can happen to, and how it is brought about and undone."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.places import IN_LAYERS, MigratedRoot, Place
from tests.faults.undoing import changed, look, moved, remove, same_times

_YEAR = 365 * 86400 * 10**9
_CAPABILITY = "security.capability"
_OPAQUE = "trusted.overlay.opaque"
_RAW = bytes.fromhex("0000000200040000000000000000000000000000")

Apply = Callable[[MigratedRoot, Path, random.Random], AbstractContextManager[None]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault; `concerns` says whether it can happen to what has this status."""

    name: str
    concerns: Callable[[os.stat_result], bool]
    apply: Apply
    places: Collection[Place] = frozenset(Place)


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def _is_filled(status: os.stat_result) -> bool:
    return _is_file(status) and status.st_size > 0


def _is_directory(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)


def _is_no_directory(status: os.stat_result) -> bool:
    return not stat.S_ISDIR(status.st_mode)


def _is_link(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode)


def _is_no_link(status: os.stat_result) -> bool:
    return not stat.S_ISLNK(status.st_mode)


def _is_shared(status: os.stat_result) -> bool:
    return _is_file(status) and status.st_nlink > 1


def _flipped(path: Path, chance: random.Random) -> bytes:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _bit(root: MigratedRoot, path: Path, chance: random.Random) -> AbstractContextManager[None]:
    return changed(path, content=_flipped(path, chance))


def _written(root: MigratedRoot, path: Path, chance: random.Random) -> AbstractContextManager[None]:
    later = path.lstat().st_mtime_ns + _YEAR
    return changed(path, content=_flipped(path, chance), mtime_ns=later)


def _cut(root: MigratedRoot, path: Path, chance: random.Random) -> AbstractContextManager[None]:
    data = path.read_bytes()
    return changed(path, content=data[: chance.randrange(len(data))])


def _emptied(root: MigratedRoot, path: Path, chance: random.Random) -> AbstractContextManager[None]:
    return changed(path, content=b"")


def _gone(root: MigratedRoot, path: Path, chance: random.Random) -> AbstractContextManager[None]:
    return moved(path, root.aside)


@contextmanager
def _swapped(root: MigratedRoot, path: Path, chance: random.Random) -> Iterator[None]:
    """With a file of the same name elsewhere, or of the same place if there is none."""
    (mine,) = (things for things in root.things.values() if path in things)
    data = path.read_bytes()
    files = [p for p in mine if p.is_file() and not p.is_symlink() and p.read_bytes() != data]
    alike = [other for other in files if other.name == path.name] or files
    if not alike:
        yield
        return
    other = chance.choice(alike)
    mtime_ns = path.stat().st_mtime_ns
    theirs, their_time = other.read_bytes(), other.stat().st_mtime_ns
    with (
        changed(path, content=theirs, mtime_ns=their_time),
        changed(other, content=data, mtime_ns=mtime_ns),
    ):
        yield


def _mode(root: MigratedRoot, path: Path, chance: random.Random) -> AbstractContextManager[None]:
    return changed(path, mode=path.lstat().st_mode ^ 1 << chance.randrange(12))


def _owner(root: MigratedRoot, path: Path, chance: random.Random) -> AbstractContextManager[None]:
    which = chance.choice(("uid", "gid"))
    return changed(path, **{which: 4321})


def _mtime(root: MigratedRoot, path: Path, chance: random.Random) -> AbstractContextManager[None]:
    return changed(path, mtime_ns=path.lstat().st_mtime_ns + _YEAR)


@contextmanager
def _target(root: MigratedRoot, path: Path, chance: random.Random) -> Iterator[None]:
    before, target = look(path), os.readlink(path)
    with moved(path, root.aside):
        with same_times(path.parent):
            path.symlink_to(target[:-1] + ("x" if target[-1] != "x" else "y"))
        with changed(path, uid=before.uid, gid=before.gid, mtime_ns=before.mtime_ns):
            yield


@contextmanager
def _copied(root: MigratedRoot, path: Path, chance: random.Random) -> Iterator[None]:
    with moved(path, root.aside):
        with same_times(path.parent):
            shutil.copy2(root.aside, path)
        was = look(root.aside)
        with changed(path, uid=was.uid, gid=was.gid, mode=was.mode, mtime_ns=was.mtime_ns):
            yield


@contextmanager
def _linked(root: MigratedRoot, path: Path, chance: random.Random) -> Iterator[None]:
    with moved(path, root.aside):
        with same_times(path.parent):
            path.symlink_to(root.aside)
        yield


@contextmanager
def _added(root: MigratedRoot, path: Path, chance: random.Random) -> Iterator[None]:
    new = path / f"new-{chance.randrange(1000)}"
    with same_times(path):
        new.write_bytes(b"new")
    try:
        yield
    finally:
        with same_times(path):
            remove(new)


def _with_xattr(name: str, value: bytes) -> Apply:
    def apply(
        root: MigratedRoot, path: Path, chance: random.Random
    ) -> AbstractContextManager[None]:
        now = dict(look(path).xattrs)
        if now.pop(name, None) is None:
            now[name] = value
        return changed(path, xattrs=now)

    return apply


def _device(number: int) -> Apply:
    @contextmanager
    def apply(root: MigratedRoot, path: Path, chance: random.Random) -> Iterator[None]:
        with moved(path, root.aside):
            with same_times(path.parent):
                os.mknod(path, stat.S_IFCHR | 0o600, number)
            yield

    return apply


_NULL = os.makedev(1, 3)

KINDS = (
    Kind("a flipped bit, times as before", _is_filled, _bit),
    Kind("a flipped bit, another mtime", _is_filled, _written),
    Kind("truncated", _is_filled, _cut),
    Kind("emptied", _is_filled, _emptied),
    Kind("swapped with another", _is_filled, _swapped),
    Kind("removed", _is_no_directory, _gone),
    Kind("a directory removed", _is_directory, _gone),
    Kind("a file added", _is_directory, _added),
    Kind("a device instead", _is_file, _device(_NULL)),
    Kind("a whiteout instead", _is_file, _device(0), IN_LAYERS),
    Kind("a symbolic link to it instead", _is_file, _linked),
    Kind("another target of a symbolic link", _is_link, _target),
    Kind("a copy instead of a hard link", _is_shared, _copied, IN_LAYERS),
    Kind("another mode", _is_no_link, _mode),
    Kind("another owner", lambda _: True, _owner),
    Kind("another mtime", _is_no_directory, _mtime),
    Kind("another mtime of a directory", _is_directory, _mtime),
    Kind("`security.capability`", _is_file, _with_xattr(_CAPABILITY, _RAW), IN_LAYERS),
    Kind("`trusted.overlay.opaque`", _is_directory, _with_xattr(_OPAQUE, b"y"), IN_LAYERS),
)
