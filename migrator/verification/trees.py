"""Walking directory trees by descriptor: no recursion, no path too long, no link followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from migrator.errors import LayerError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Node(NamedTuple):
    """Something in a tree: its name in the open directory `fd`, and its status."""

    fd: int
    name: bytes
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


class Pair(NamedTuple):
    """What two trees have at one path; None where a tree has nothing."""

    path: bytes
    new: Node | None
    old: Node | None


class PairWalk:
    """The union of two trees, parents first; iterate over it.

    Descriptors in a pair are open until the next one is asked for. A directory
    in `new` is entered, together with that of the same path in `old` unless
    `hide_old` was called on it. What is only in `old` is not entered.
    Raises LayerError when a directory cannot be read.
    """

    def __init__(self, new: Path, old: Path | None = None) -> None:
        self._new = new
        self._old = old
        self._hidden = False

    def hide_old(self) -> None:
        """Below the current pair, look at `new` alone."""
        self._hidden = True

    def __iter__(self) -> Iterator[Pair]:
        frames: list[_Frame] = []
        path = b""
        try:
            fd = os.open(self._new, _DIRECTORY)
            frames.append(_Frame(b"", fd))
            if self._old is not None:
                frames[-1].look_at(os.open(self._old, _DIRECTORY))
            while frames:
                frame = frames[-1]
                name = next(frame.names, None)
                if name is None:
                    frames.pop().close()
                    continue
                path = frame.prefix + name
                pair = Pair(path, frame.node(frame.new, name), frame.node(frame.old, name))
                self._hidden = False
                yield pair
                if pair.new is not None and pair.new.is_directory:
                    frames.append(_Frame(path + b"/", os.open(name, _DIRECTORY, dir_fd=frame.new)))
                    if pair.old is not None and pair.old.is_directory and not self._hidden:
                        frames[-1].look_at(os.open(name, _DIRECTORY, dir_fd=pair.old.fd))
        except OSError as error:
            raise LayerError(
                f"cannot be read ({error.strerror or error})", subject=os.fsdecode(path)
            ) from None
        finally:
            for frame in frames:
                frame.close()


class _Frame:
    """A directory that is being walked in `new`, and perhaps the same one in `old`."""

    def __init__(self, prefix: bytes, new: int) -> None:
        self.prefix = prefix
        self.new = new
        self.old: int | None = None
        self.names = iter(_names(new))

    def look_at(self, old: int) -> None:
        self.old = old
        self.names = iter(sorted({*_names(self.new), *_names(old)}))

    def node(self, fd: int | None, name: bytes) -> Node | None:
        if fd is None:
            return None
        try:
            return Node(fd, name, os.stat(name, dir_fd=fd, follow_symlinks=False))
        except FileNotFoundError:
            return None

    def close(self) -> None:
        os.close(self.new)
        if self.old is not None:
            os.close(self.old)


def _names(fd: int) -> list[bytes]:
    return sorted(os.fsencode(name) for name in os.listdir(fd))


def walk(directory: Path) -> Iterator[Node]:
    """Everything below a directory. Raises LayerError."""
    for pair in PairWalk(directory):
        assert pair.new is not None
        yield pair.new
