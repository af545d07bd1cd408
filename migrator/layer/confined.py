"""Opening the files of one layer, and nothing else.

A name that comes out of a tar-split record is somebody's word. It is resolved
as if the layer's directory were `/`: symbolic links on the way are followed
inside it, `..` stops at it, and only regular files are opened. Docker itself
opened `root + name` and could be led anywhere.

Names are resolved a component at a time below directory descriptors, so that
they may be longer than PATH_MAX and need no kernel newer than the hosts that
ran Docker 1.9. Records list files directory by directory: the descriptors of
the current directory and its ancestors stay open, and a file in the same or a
neighbouring directory costs one or two system calls.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from pathlib import Path
from types import TracebackType

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# The kernel's own limit (MAXSYMLINKS).
_MAX_LINKS = 40


class NotRegular(OSError):
    """What stands at the name is no regular file."""


class LayerDirectory:
    """The directory that holds a layer's files, as the only root there is.

    Raises OSError when `root` cannot be opened as a directory (a symbolic
    link is not followed).
    """

    def __init__(self, root: Path) -> None:
        self._fds = [os.open(root, _DIRECTORY)]
        self._names: list[bytes] = []
        self._directory = b""

    def __enter__(self) -> LayerDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._leave(0)
        os.close(self._fds.pop())

    def open(self, name: bytes) -> tuple[int, os.stat_result]:
        """Open the regular file `name` for reading.

        `name` is relative and clean (no empty, `.` or `..` component) or
        anything else, which is cleaned first. Returns the descriptor, which
        the caller closes, and the file's status. Raises OSError.
        """
        directory, _, last = name.rpartition(b"/")
        if directory != self._directory or not last:
            if not _is_clean(name):
                return self.open(posixpath.normpath(b"/" + name).lstrip(b"/"))
            try:
                self._enter(directory)
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    return self._open_through_links(name)
                raise
        status = os.stat(last, dir_fd=self._fds[-1], follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            return self._open_through_links(name)
        return _open_regular(last, self._fds[-1], status), status

    def _enter(self, directory: bytes) -> None:
        """Make `directory` the current one, keeping what it shares with the last."""
        wanted = directory.split(b"/") if directory else []
        shared = 0
        for have, want in zip(self._names, wanted, strict=False):
            if have != want:
                break
            shared += 1
        self._leave(shared)
        try:
            for component in wanted[shared:]:
                self._fds.append(os.open(component, _DIRECTORY, dir_fd=self._fds[-1]))
                self._names.append(component)
        finally:
            self._directory = b"/".join(self._names)

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            self._names.pop()
            os.close(self._fds.pop())
        self._directory = b"/".join(self._names)

    def _open_through_links(self, name: bytes) -> tuple[int, os.stat_result]:
        """The general way: every component looked at, every link read and followed inside."""
        stack = [os.dup(self._fds[0])]
        todo = name.split(b"/")[::-1]
        links = 0
        try:
            while todo:
                component = todo.pop()
                if component in (b"", b"."):
                    continue
                if component == b"..":
                    if len(stack) > 1:
                        os.close(stack.pop())
                    continue
                status = os.stat(component, dir_fd=stack[-1], follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if links > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    target = os.readlink(component, dir_fd=stack[-1])
                    if target.startswith(b"/"):
                        while len(stack) > 1:
                            os.close(stack.pop())
                    todo.extend(target.split(b"/")[::-1])
                elif any(part not in (b"", b".") for part in todo):
                    stack.append(os.open(component, _DIRECTORY, dir_fd=stack[-1]))
                else:
                    return _open_regular(component, stack[-1], status), status
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        finally:
            for fd in stack:
                os.close(fd)


def _is_clean(name: bytes) -> bool:
    parts = name.split(b"/")
    return b"" not in parts and b"." not in parts and b".." not in parts


def _open_regular(last: bytes, directory: int, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(errno.EINVAL, "not a regular file")
    return os.open(last, _FILE, dir_fd=directory)
