"""Moving about in a layer's tree by directory descriptors.

Every name is resolved one component at a time below an open directory, so a
path may be longer than PATH_MAX and no symbolic link is ever followed. Of a
very deep branch only the lower end stays open; the way back up leads through
`..`, which must be the directory that was left.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from pathlib import Path
from types import TracebackType

from migrator.errors import LayerError

# Reading leaves no trace: a new access time for each file would cost as much as opening it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FILE_UNTOUCHED = _FILE | os.O_NOATIME
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Descriptors one descent may hold; a process walks two trees at a time, and 1024 is a usual limit.
_MOST_OPEN = 128

# Trees may be nested without limit, but what is kept of their paths must have one.
# Docker, which always gave the kernel whole paths, got no further than PATH_MAX.
MAX_PATH = 32 << 10


class Descent:
    """The directory a walk stands in, somewhere below `root`.

    `path` is relative to the root, `b""` there; `fd` is its descriptor. Raises
    `LayerError` when `root` is not a directory (or a link to one), and OSError
    from the moves.
    """

    def __init__(self, root: Path) -> None:
        try:
            self._open = deque([os.open(root, _DIRECTORY)])
        except OSError as error:
            raise unreadable(os.fsencode(root), error) from None
        self._left: list[tuple[int, int]] = []
        self._names: list[bytes] = []
        self.path = b""

    @property
    def fd(self) -> int:
        """The descriptor of the directory it stands in."""
        return self._open[-1]

    def __enter__(self) -> Descent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the descriptors."""
        while self._open:
            os.close(self._open.pop())

    def enter(self, path: bytes) -> None:
        """Go to the directory `path`, by way of the deepest one shared with the current."""
        if path == self.path:
            return
        wanted = path.split(b"/") if path else []
        shared = 0
        for have, want in zip(self._names, wanted, strict=False):
            if have != want:
                break
            shared += 1
        while len(self._names) > shared:
            self.up()
        for name in wanted[shared:]:
            self.down(name)

    def down(self, name: bytes) -> None:
        """Go to the subdirectory `name`."""
        if len(self.path) > MAX_PATH:
            raise OSError(errno.ENAMETOOLONG, f"directories nested over {MAX_PATH} bytes of path")
        self._open.append(os.open(name, _DIRECTORY, dir_fd=self.fd))
        self._names.append(name)
        self.path = self.path + b"/" + name if self.path else name
        if len(self._open) > _MOST_OPEN:
            shallowest = self._open.popleft()
            self._left.append(_identity(shallowest))
            os.close(shallowest)

    def up(self) -> None:
        """Go to the directory above."""
        below = self._open.pop()
        self.path = self.path[: -len(self._names.pop()) - 1]
        try:
            if not self._open:
                self._open.append(os.open(b"..", _DIRECTORY, dir_fd=below))
                if _identity(self.fd) != self._left.pop():
                    raise OSError(errno.ESTALE, "the directory was moved meanwhile")
        finally:
            os.close(below)


def open_file(name: bytes, directory: int) -> int:
    """Open the file `name` below the descriptor `directory`; no link is followed.

    That it is a regular file is for the caller to know before. Raises OSError.
    """
    try:
        return os.open(name, _FILE_UNTOUCHED, dir_fd=directory)
    except PermissionError:
        # Only its owner, or root, may leave the access time alone.
        return os.open(name, _FILE, dir_fd=directory)


def unreadable(path: bytes, error: OSError) -> LayerError:
    """What to raise when the file system refuses something about `path`."""
    return LayerError(
        f"cannot be read ({error.strerror or error})", subject=os.fsdecode(path) or "/"
    )


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
