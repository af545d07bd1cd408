"""What a tree is made of, in 32 bytes, to tell whether it is still what was built."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from blake3 import blake3

from migrator.tree.descent import Descent, unreadable
from migrator.tree.walk import names_below
from migrator.tree.xattrs import path_at, xattrs_of

# Lines are collected and hashed together; a call for each costs more than the hash.
_BATCH = 512


def fingerprint(path: Path) -> str:
    """64 hex digits over all that is at `path`: a directory, or a link or any other file.

    Path, type, mode, owner, size, mtime, device number, link target and
    extended attributes of everything, whatever its inode number, link count
    and other times. No content is read. Raises LayerError.
    """
    lines = []
    hasher = blake3()
    with Descent(path.parent) as at:
        lines.append(_described(b"", at, os.fsencode(path.name)))
        is_directory = stat.S_ISDIR(os.stat(path.name, dir_fd=at.fd, follow_symlinks=False).st_mode)
    if is_directory:
        with Descent(path) as at:
            for below, name, _ in names_below(at):
                lines.append(_described(below, at, name))
                if len(lines) == _BATCH:
                    hasher.update(b"".join(lines))
                    lines.clear()
    hasher.update(b"".join(lines))
    return hasher.hexdigest()


def _described(path: bytes, at: Descent, name: bytes) -> bytes:
    try:
        status = os.stat(name, dir_fd=at.fd, follow_symlinks=False)
        xattrs = xattrs_of(path_at(at.fd, name))
        link = os.readlink(name, dir_fd=at.fd) if stat.S_ISLNK(status.st_mode) else b""
    except OSError as error:
        raise unreadable(path, error) from None
    # That of a directory is the file system's affair.
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    line = b"%b\0%o %d %d %d %d %d %d\0%b\0" % (
        path,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        size,
        status.st_mtime_ns,
        status.st_rdev,
        len(xattrs),
        link,
    )
    for key in sorted(xattrs):
        line += b"%b\0%d\0%b" % (os.fsencode(key), len(xattrs[key]), xattrs[key])
    return line
