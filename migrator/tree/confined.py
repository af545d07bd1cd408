"""Opening the files of one layer, and nothing else.

A name that comes out of a tar-split record is somebody's word. It is resolved
as if the layer's directory were `/`: symbolic links on the way are followed
inside it, `..` stops at it, and only regular files are opened. Docker itself
opened `root + name` and could be led anywhere.

Names are resolved a component at a time below directory descriptors, so that
they may be longer than PATH_MAX and need no kernel newer than the hosts that
ran Docker 1.9. Records list files directory by directory: the current
directory stays open, and a file in the same or a neighbouring one costs few
system calls.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from migrator.tree.descent import Descent, open_file
from migrator.tree.resolve import below, steps


class NotRegular(OSError):
    """What stands at the name is no regular file."""


class LayerDirectory:
    """The directory that holds a layer's files, as the only root there is.

    Raises LayerError when `root` cannot be opened as a directory (a symbolic
    link is not followed).
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._at = Descent(root)
        # Where the last file was: the directory's path and its descriptor.
        self._directory: bytes | None = b""
        self._fd = self._at.fd

    def __enter__(self) -> LayerDirectory:
        return self

    def __exit__(self, *exc: object) -> None:
        self._at.close()

    def open(self, name: bytes) -> tuple[int, os.stat_result]:
        """Open the regular file `name` for reading.

        `name` is relative and clean (no empty, `.` or `..` component) or
        anything else, which is cleaned first. Returns the descriptor, which
        the caller closes, and the file's status. Raises OSError, and
        ValueError for a name that no file can have.
        """
        directory, _, last = name.rpartition(b"/")
        if directory != self._directory or not last:
            if not _is_clean(name):
                name = below(name)
                if not name:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                return self.open(name)
            self._directory = None
            try:
                self._at.enter(directory)
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    return self._open_through_links(name)
                raise
            self._directory, self._fd = directory, self._at.fd
        status = os.lstat(last, dir_fd=self._fd)
        if stat.S_ISREG(status.st_mode):
            return open_file(last, self._fd), status
        if stat.S_ISLNK(status.st_mode):
            return self._open_through_links(name)
        raise NotRegular(errno.EINVAL, "not a regular file")

    def _open_through_links(self, name: bytes) -> tuple[int, os.stat_result]:
        """The general way: every component looked at, every link followed inside."""
        with Descent(self._root) as at:
            for step in steps(at, name):
                if stat.S_ISLNK(step.status.st_mode):
                    continue
                if stat.S_ISREG(step.status.st_mode):
                    return open_file(step.name, at.fd), step.status
                raise NotRegular(errno.EINVAL, "not a regular file")
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def _is_clean(name: bytes) -> bool:
    parts = name.split(b"/")
    return b"" not in parts and b"." not in parts and b".." not in parts
