"""A layer's tar, streamed from an ordered list of changes and the files themselves.

Entries are made as Docker 1.10's `pkg/archive` makes them (`addTarFile`,
`ExportChanges`). Docker left out what it could not read; here that is an error,
as is a file that changes while it is read: a digest is right or there is none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from migrator.errors import LayerError
from migrator.layer import tarheader
from migrator.tree.capability import capability_of, capability_of_open
from migrator.tree.changes import Change, ChangeKind, whiteout_of
from migrator.tree.descent import Descent, open_file, unreadable

_TYPES = {
    stat.S_IFREG: tarheader.REGULAR,
    stat.S_IFDIR: tarheader.DIRECTORY,
    stat.S_IFLNK: tarheader.SYMLINK,
    stat.S_IFCHR: tarheader.CHARACTER_DEVICE,
    stat.S_IFBLK: tarheader.BLOCK_DEVICE,
    stat.S_IFIFO: tarheader.FIFO,
    stat.S_IFSOCK: tarheader.UNTYPED,
}


class TarSink(Protocol):
    """Where the tar goes: for every entry `raw` and one of the others, and `raw` at the end."""

    def raw(self, data: bytes) -> None:
        """What precedes an entry's content (padding, headers), or the end of the archive."""

    def no_content(self, name: bytes) -> None:
        """The entry `name` ends with its header."""

    def content(self, name: bytes, fd: int, status: os.stat_result) -> int:
        """The content of the entry `name`: `status.st_size` bytes of `fd`.

        Returns how many there were, at most that.
        """


def write_diff(root: Path, changes: Iterable[Change], sink: TarSink) -> None:
    """Write the tar of `changes`, reading the files below `root`.

    Raises `LayerError` naming the file that cannot be read, is gone, or is
    changed while being read.
    """
    with Descent(root) as at:
        writer = _Writer(at, sink)
        for path, kind in changes:
            if kind is ChangeKind.DELETED:
                writer.whiteout(path)
            else:
                writer.entry(path)
        writer.end()


class _Writer:
    def __init__(self, at: Descent, sink: TarSink) -> None:
        self._at = at
        self._sink = sink
        self._headers = tarheader.HeaderEncoder()
        self._padding = b""
        # Inodes with several links, by the name under which their content was written.
        self._written: dict[int, bytes] = {}

    def whiteout(self, path: bytes) -> None:
        name = whiteout_of(path)
        self._sink.raw(self._padding + self._headers.encode(name, tarheader.UNTYPED))
        self._sink.no_content(name)
        self._padding = b""

    def entry(self, path: bytes) -> None:
        directory, _, name = path.rpartition(b"/")
        try:
            self._at.enter(directory)
            status = os.stat(name, dir_fd=self._at.fd, follow_symlinks=False)
            first = self._first_name(path, status)
            if first is not None:
                self._without_content(path, name, status, tarheader.HARD_LINK, first)
            elif stat.S_ISREG(status.st_mode) and status.st_size:
                self._with_content(path, name, status)
            else:
                link = b""
                if stat.S_ISLNK(status.st_mode):
                    link = os.readlink(name, dir_fd=self._at.fd)
                type_flag = _TYPES[stat.S_IFMT(status.st_mode)]
                self._without_content(path, name, status, type_flag, link)
        except OSError as error:
            raise unreadable(path, error) from None

    def end(self) -> None:
        self._sink.raw(self._padding + bytes(2 * tarheader.BLOCK))

    def _first_name(self, path: bytes, status: os.stat_result) -> bytes | None:
        """The name this file already has in the archive, if it has one."""
        if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode):
            return None
        first = self._written.setdefault(status.st_ino, path)
        return None if first is path else first

    def _without_content(
        self, path: bytes, name: bytes, status: os.stat_result, type_flag: bytes, link: bytes
    ) -> None:
        tar_name = path + b"/" if type_flag == tarheader.DIRECTORY else path
        capability = capability_of(self._at.fd, name)
        self._header(tar_name, status, type_flag, link, 0, capability)
        self._sink.no_content(tar_name)
        self._padding = b""

    def _with_content(self, path: bytes, name: bytes, status: os.stat_result) -> None:
        size = status.st_size
        fd = open_file(name, self._at.fd)
        try:
            capability = capability_of_open(fd)
            self._header(path, status, tarheader.REGULAR, b"", size, capability)
            got = self._sink.content(path, fd, status)
            if got != size or _version(os.fstat(fd)) != _version(status):
                raise LayerError("was changed while it was read", subject=os.fsdecode(path))
        finally:
            os.close(fd)
        self._padding = tarheader.padding(size)

    def _header(
        self,
        tar_name: bytes,
        status: os.stat_result,
        type_flag: bytes,
        link: bytes,
        size: int,
        capability: bytes | None,
    ) -> None:
        header = self._headers.encode(
            tar_name,
            type_flag,
            mode=status.st_mode,
            uid=status.st_uid,
            gid=status.st_gid,
            size=size,
            mtime_ns=status.st_mtime_ns,
            link=link,
            device=_device(status.st_rdev),
            capability=capability,
        )
        self._sink.raw(self._padding + header)


def _device(number: int) -> tuple[int, int]:
    """Major and minor number as Docker takes them out of st_rdev (`archive_unix.go`)."""
    return number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00


def _version(status: os.stat_result) -> tuple[int, ...]:
    """What tells one state of one file from another."""
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns
