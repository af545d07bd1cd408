"""Reading a data root's metadata without ever leaving it, and never writing.

Names below the root are opened a component at a time, none of them through a
symbolic link; only regular files of a sane size are read.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from blake3 import blake3

from migrator.errors import AS_ROOT, DataRootError, FormatError, PermissionDenied
from migrator.text import shown

# Docker's largest metadata file, repositories.json, takes some 200 bytes a tag.
_MAX_FILE = 64 << 20

_BLOCK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR)

_LINK = "is a symbolic link, or reached through one"

_surrogate = re.compile("[\ud800-\udfff]")


class MissingFileError(FormatError):
    """There is nothing of that name."""


class RootFiles:
    """The files of one data root, by paths relative to it.

    `bytes_read` counts what was read, `unreadable` collects the directories
    whose names could not be had, with the reason, `denied` is the first path
    that only root may read, if one was met. Raises DataRootError when
    `root` is no directory that can be read. Methods raise FormatError for what
    cannot be read, and MissingFileError for what is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bytes_read = 0
        self.unreadable: dict[str, str] = {}
        self.denied = ""
        try:
            self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError as error:
            raise PermissionDenied(
                f"cannot be read ({error.strerror})", subject=str(root), hint=AS_ROOT
            ) from None
        except OSError as error:
            raise DataRootError(f"cannot be opened ({error.strerror})", subject=str(root)) from None

    def __enter__(self) -> RootFiles:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def read(self, path: str, limit: int = _MAX_FILE) -> bytes:
        """The content of a regular file of at most `limit` bytes."""
        with self._open(path) as (fd, status):
            if status.st_size > limit:
                raise FormatError(f"is too large ({status.st_size} bytes)")
            return b"".join(self._blocks(fd, limit))

    def digest(self, path: str) -> tuple[str, os.stat_result]:
        """BLAKE3 hex digest of a regular file of any size, and its status."""
        hasher = blake3()
        with self._open(path) as (fd, status):
            for block in self._blocks(fd, status.st_size):
                hasher.update(block)
        return hasher.hexdigest(), status

    def link(self, path: str) -> str:
        """What a symbolic link says."""
        try:
            with self._parent(path) as (directory, name):
                return os.readlink(name, dir_fd=directory)
        except OSError as error:
            if error.errno in _ABSENT:
                raise MissingFileError("is missing") from None
            if error.errno == errno.EINVAL:
                raise FormatError("is no symbolic link") from None
            raise self._refused(path, error) from None

    def status(self, path: str) -> os.stat_result | None:
        """What stands at `path` itself (a link is not followed); None when nothing does."""
        try:
            with self._parent(path) as (directory, name):
                return os.stat(name, dir_fd=directory, follow_symlinks=False)
        except MissingFileError:
            return None
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise self._refused(path, error) from None

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory, reached without a symbolic link."""
        try:
            status = self.status(path)
        except FormatError:
            return False
        return status is not None and stat.S_ISDIR(status.st_mode)

    def names(self, path: str = "") -> list[str]:
        """The sorted names in a directory; none when there is none, or it is `unreadable`."""
        try:
            with self._parent(f"{path}/." if path else ".") as (directory, _):
                return sorted(os.listdir(directory))
        except MissingFileError:
            pass
        except FormatError as error:
            self.unreadable[path] = error.message
        return []

    def refuse_denied(self) -> None:
        """Raise PermissionDenied where more than a fault of the store keeps its files from us."""
        if self.denied:
            subject = shown(str(self.root / self.denied.removesuffix("/.")))
            raise PermissionDenied("may be read by root only", subject=subject, hint=AS_ROOT)

    def _refused(self, path: str, error: OSError) -> FormatError:
        if error.errno == errno.ELOOP:
            return FormatError(_LINK)
        if isinstance(error, PermissionError) and os.geteuid() != 0 and not self.denied:
            self.denied = path
        return FormatError(f"cannot be read ({error.strerror or error})")

    def _blocks(self, fd: int, limit: int) -> Iterator[bytes]:
        left = limit
        while left and (block := os.read(fd, min(left, _BLOCK))):
            self.bytes_read += len(block)
            left -= len(block)
            yield block

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[tuple[int, os.stat_result]]:
        try:
            with self._parent(path) as (directory, name):
                fd = os.open(name, _FILE, dir_fd=directory)
        except OSError as error:
            if error.errno in _ABSENT:
                raise MissingFileError("is missing") from None
            raise self._refused(path, error) from None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise FormatError("is no regular file")
            yield fd, status
        except OSError as error:
            raise self._refused(path, error) from None
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The open directory that holds `path`, and the name there."""
        *directories, name = path.split("/")
        if "" in (*directories, name) or "\0" in path or ".." in (*directories, name):
            raise FormatError("is no name of a file in the data root")
        fd = os.dup(self._fd)
        try:
            for component in directories:
                below = os.open(component, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd, name
        except OSError as error:
            if _is_link(error, fd):
                raise FormatError(_LINK) from None
            if error.errno in _ABSENT:
                raise MissingFileError("is missing") from None
            raise self._refused(path, error) from None
        finally:
            os.close(fd)


def json_value(data: bytes) -> Any:
    """A JSON document; what is not UTF-8 becomes U+FFFD, as in Go. Raises FormatError."""
    text = _surrogate.sub("\ufffd", data.decode("utf-8", "surrogateescape"))
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise FormatError("is nested too deeply for JSON of Docker's") from None
    except ValueError as error:
        raise FormatError(f"is not valid JSON ({error})") from None


def json_object(data: bytes) -> dict[str, Any]:
    """A JSON document that is an object. Raises FormatError."""
    value = json_value(data)
    if not isinstance(value, dict):
        raise FormatError("is no JSON object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _is_link(error: OSError, fd: int) -> bool:
    """Whether it was a symbolic link that could not be opened as a directory."""
    if error.errno != errno.ENOTDIR or not error.filename:
        return False
    with contextlib.suppress(OSError):
        status = os.stat(error.filename, dir_fd=fd, follow_symlinks=False)
        return stat.S_ISLNK(status.st_mode)
    return False
