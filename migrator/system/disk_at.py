"""The changes of `system.disk` by directory descriptor, for trees of any depth and any files.

Errors and the hook are those of `migrator.system.disk`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from migrator.system.disk import operation

# What says that another way has to be taken; an immutable file is an EPERM.
_NO_LINK = frozenset((errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP))
_NO_REFLINK = _NO_LINK | {errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.ETXTBSY}
# <linux/fs.h>
_FICLONE = 0x40049409
_ACL = "system.posix_acl_"


class Place(NamedTuple):
    """A name in an open directory, so that paths may be longer than PATH_MAX.

    `path` is where that is, for messages and the hook.
    """

    directory: int
    name: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class Metadata:
    """All that a file has besides its type and content; `mode` has the permissions only."""

    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    xattrs: Mapping[str, bytes]


def make_directory(place: Place) -> None:
    """Create one directory, for the owner alone."""
    with operation("mkdir", place.path):
        os.mkdir(place.name, 0o700, dir_fd=place.directory)


def link(directory: int, name: bytes, place: Place) -> bool:
    """Hard-link `name` below the descriptor `directory`; False where that is not possible."""
    with operation("link", place.path):
        try:
            os.link(
                name,
                place.name,
                src_dir_fd=directory,
                dst_dir_fd=place.directory,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
    return True


def make_symlink(target: bytes, place: Place) -> None:
    """Create a symbolic link to `target`."""
    with operation("symlink", place.path):
        os.symlink(target, place.name, dir_fd=place.directory)


def make_node(place: Place, kind: int, device: int = 0) -> None:
    """Create a device, fifo or socket; `kind` is the type as in st_mode, nobody may use it yet."""
    with operation("mknod", place.path):
        os.mknod(place.name, kind, device, dir_fd=place.directory)


def create(place: Place) -> int:
    """Create a file that must not exist yet; returns the descriptor for writing it."""
    with operation("create", place.path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(place.name, flags, 0o600, dir_fd=place.directory)


def reflink(source: int, fd: int, path: Path) -> bool:
    """Have the new file `fd` share all of the content of `source`; False if that is impossible."""
    with operation("reflink", path):
        try:
            fcntl.ioctl(fd, _FICLONE, source)
        except OSError as error:
            if error.errno not in _NO_REFLINK:
                raise
            return False
    return True


def write_sparse(fd: int, size: int, pieces: Iterable[tuple[int, bytes]], path: Path) -> None:
    """Write `pieces`, each at its offset, of `size` bytes in all; what is between is a hole."""
    with operation("write", path):
        for offset, data in pieces:
            rest = memoryview(data)
            while rest:
                written = os.pwrite(fd, rest, offset)
                offset += written
                rest = rest[written:]
        os.ftruncate(fd, size)


def set_metadata(place: Place, metadata: Metadata, *, symlink: bool = False) -> None:
    """Give what was created at `place`, a `symlink` or not, exactly this metadata."""
    directory, name, path = place
    # There is no setxattrat(2) before Linux 6.13.
    short = b"/proc/self/fd/%d/%b" % (directory, name)
    with operation("set metadata", path):
        os.chown(name, metadata.uid, metadata.gid, dir_fd=directory, follow_symlinks=False)
        # Both after the change of owner, which clears setuid, setgid and the capability.
        if not symlink:
            os.chmod(name, metadata.mode, dir_fd=directory)
            _drop_inherited_acls(short, metadata)
        for key, value in metadata.xattrs.items():
            os.setxattr(short, key, value, follow_symlinks=False)
        times = metadata.atime_ns, metadata.mtime_ns
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _drop_inherited_acls(path: bytes, metadata: Metadata) -> None:
    """Remove what the default ACL of the directory around gave to a new file."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return
    for name in names:
        if name.startswith(_ACL) and name not in metadata.xattrs:
            os.removexattr(path, name, follow_symlinks=False)
