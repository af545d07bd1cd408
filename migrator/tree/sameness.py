"""Whether two files are exactly the same, without the leniency of Docker's own comparison."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from migrator.tree.descent import open_file
from migrator.tree.mtimes import same_through_tar
from migrator.tree.xattrs import path_at, xattrs_of

_BLOCK = 256 << 10


@dataclass(frozen=True, slots=True)
class Sameness:
    """What counts: whether the times of directories do, and more of times than the seconds."""

    directory_times: bool = True
    nanoseconds: bool = True

    def __call__(self, name: bytes, new_at: int, old_at: int) -> bool:
        """Whether `name` is the same below both directory descriptors.

        Of a directory, it is only the directory itself. Raises OSError.
        """
        new = os.stat(name, dir_fd=new_at, follow_symlinks=False)
        old = os.stat(name, dir_fd=old_at, follow_symlinks=False)
        if _is_one(new, old):
            return True
        return (
            _properties(new) == _properties(old)
            and self._times_match(new, old)
            and xattrs_of(path_at(new_at, name)) == xattrs_of(path_at(old_at, name))
            and _same_content(name, new, new_at, old_at)
        )

    def _times_match(self, new: os.stat_result, old: os.stat_result) -> bool:
        if new.st_mtime_ns == old.st_mtime_ns:
            return True
        if stat.S_ISDIR(new.st_mode) and not self.directory_times:
            return True
        return not self.nanoseconds and same_through_tar(new.st_mtime_ns, old.st_mtime_ns)


def _is_one(new: os.stat_result, old: os.stat_result) -> bool:
    """Whether both are one file, or one that a snapshot left alone."""
    if new.st_ino != old.st_ino:
        return False
    return new.st_dev == old.st_dev or (
        new.st_ctime_ns == old.st_ctime_ns
        and new.st_mtime_ns == old.st_mtime_ns
        and new.st_size == old.st_size
    )


def _properties(status: os.stat_result) -> tuple[int, ...]:
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return status.st_mode, status.st_uid, status.st_gid, status.st_rdev, size


def _same_content(name: bytes, status: os.stat_result, new_at: int, old_at: int) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(name, dir_fd=new_at) == os.readlink(name, dir_fd=old_at)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return True
    new = open_file(name, new_at)
    try:
        old = open_file(name, old_at)
        try:
            while (block := os.read(new, _BLOCK)) == os.read(old, _BLOCK):
                if not block:
                    return True
            return False
        finally:
            os.close(old)
    finally:
        os.close(new)
