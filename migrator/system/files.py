"""Reading the metadata files of a store that anything may have written.

Only regular files of a bounded size are read and only real directories are
entered, so that a fifo, a device or a symbolic link in a store neither blocks
nor leads out of it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from migrator.errors import AS_ROOT, FormatError, MigratorError, PermissionDenied
from migrator.system.capabilities import remedy
from migrator.text import shown

MAX_JSON = 4 << 20
"""Bytes that the JSON of one image or container may have; a registry took far less."""

MAX_JSON_IN_ALL = 256 << 20
"""Bytes of JSON that all images may have: 50,000 large ones."""

MAX_CONTAINERS_JSON = 384 << 20
"""Bytes of JSON that all containers may have: 100,000 with both files, and some to spare."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def read_file(path: Path, limit: int) -> bytes | None:
    """The content of the regular file `path`; None if there is no such file.

    Raises FormatError when it is something else, has more than `limit` bytes or
    cannot be read, PermissionDenied when only root may read it.
    """
    try:
        fd = open_regular(path)
        with open(fd, "rb") as file:
            # No more than there is: a buffer of the limit's size for every small file
            # leaves the process, after some ten thousand, without mappings to give out.
            size = os.fstat(file.fileno()).st_size
            content = file.read(min(size, limit) + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(error, path) from None
    if len(content) > limit:
        raise FormatError(f"has more than {limit} bytes", subject=shown(str(path)))
    return content


def open_regular(path: Path) -> int:
    """A descriptor for reading `path`, which must be a regular file.

    Raises FormatError when it is something else, and OSError.
    """
    # Looked at first: merely opening a device may do something.
    regular_status(path)
    return os.open(path, _FILE)


def regular_status(path: Path) -> os.stat_result:
    """The status of `path`, which must be a regular file; raises as `open_regular`."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise FormatError("is not a regular file", subject=shown(str(path)))
    return status


def is_directory(path: Path) -> bool:
    """Whether `path` is a directory and no symbolic link to one.

    Raises PermissionDenied when only root can tell, FormatError when nobody can.
    """
    return stat.S_ISDIR(_mode(path))


def is_regular(path: Path) -> bool:
    """Whether `path` is a regular file and no symbolic link to one; raises like `is_directory`."""
    return stat.S_ISREG(_mode(path))


class Inside:
    """Names below `root`, each looked at so that no symbolic link below `root` leads there.

    Every directory is looked at once: for a tree in which nobody else makes or
    replaces directories meanwhile. `path` and `directory` raise FormatError if
    something other than a directory stands on the way, PermissionDenied when
    only root can tell.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._there = {"": True}

    def path(self, name: str) -> Path:
        """`root / name`, whatever that is; `name` has no empty part and no `..`."""
        self.directory(name.rpartition("/")[0])
        return self._root / name

    def directory(self, name: str) -> bool:
        """Whether there is this directory."""
        if name not in self._there:
            self._there[name] = self._look(name)
        return self._there[name]

    def _look(self, name: str) -> bool:
        at = ""
        for part in name.split("/"):
            at = f"{at}/{part}" if at else part
            if at not in self._there:
                self._there[at] = _is_directory_or_absent(self._root / at)
            if not self._there[at]:
                return False
        return True


def inside(root: Path, path: str) -> Path:
    """`root / path`, as `Inside.path` gives it."""
    return Inside(root).path(path)


def _is_directory_or_absent(path: Path) -> bool:
    mode = _mode(path)
    if stat.S_ISLNK(mode):
        raise FormatError("is a symbolic link", subject=shown(str(path)))
    if mode and not stat.S_ISDIR(mode):
        raise FormatError("is not a directory", subject=shown(str(path)))
    return bool(mode)


def list_directory(path: Path) -> list[tuple[str, bool]]:
    """The names in a directory, sorted, each with whether it is a directory itself.

    Symbolic links count as no directories. An absent directory is empty.
    Raises PermissionDenied, or FormatError, also when `path` is a symbolic link.
    """
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise refusal(error, path) from None
    try:
        with os.scandir(fd) as entries:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        raise refusal(error, path) from None
    finally:
        os.close(fd)


def refuse_closed(path: Path) -> None:
    """Raise PermissionDenied when only root may go into the directory `path`, if there is one."""
    if is_directory(path) and not os.access(path, os.X_OK):
        raise PermissionDenied("may be read by root only", subject=shown(str(path)), hint=AS_ROOT)


def _mode(path: Path) -> int:
    """Type and permissions of what stands at `path` itself; 0 if nothing does, or can."""
    try:
        return path.lstat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return 0
        raise refusal(error, path) from None


def refusal(error: OSError, path: Path) -> MigratorError:
    """The error to raise when the kernel refused to read `path`."""
    subject = shown(str(path))
    if hint := remedy(error):
        return PermissionDenied("may be read by root only", subject=subject, hint=hint)
    return FormatError(f"cannot be read ({error.strerror})", subject=subject)
