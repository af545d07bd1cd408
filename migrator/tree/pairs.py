"""Walking directory trees by descriptor: no recursion, no path too long, no link followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from migrator.errors import LayerError
from migrator.tree.descent import Descent, unreadable


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
    """The union of two trees, parents first; iterate over it once.

    Descriptors in a pair are open until the next one is asked for. A directory
    in `new` is entered, together with that of the same path in `old` unless
    `hide_old` was called on it. What is only in `old` is not entered.
    Raises LayerError when a directory cannot be read.
    """

    def __init__(self, new: Path, old: Path | None = None) -> None:
        self._new = Descent(new)
        try:
            self._old = Descent(old) if old is not None else None
        except LayerError:
            self._new.close()
            raise
        self._hidden = False

    def hide_old(self) -> None:
        """Below the current pair, look at `new` alone."""
        self._hidden = True

    def __iter__(self) -> Iterator[Pair]:
        try:
            yield from self._pairs()
        except OSError as error:
            raise unreadable(self._new.path, error) from None
        finally:
            self._new.close()
            if self._old is not None:
                self._old.close()

    def _pairs(self) -> Iterator[Pair]:
        new, old = self._new, self._old
        frames = [_Frame(b"", new, old)]
        while frames:
            frame = frames[-1]
            name = next(frame.names, None)
            if name is None:
                frames.pop()
                if frames:
                    new.up()
                    if frame.old is not None:
                        frame.old.up()
                continue
            pair = Pair(frame.prefix + name, _node(new, name), _node(frame.old, name))
            self._hidden = False
            yield pair
            if pair.new is not None and pair.new.is_directory:
                new.down(name)
                both = pair.old is not None and pair.old.is_directory and not self._hidden
                if both and frame.old is not None:
                    frame.old.down(name)
                frames.append(_Frame(pair.path + b"/", new, frame.old if both else None))


class _Frame:
    """A directory that is being walked in `new`, and perhaps the same one in `old`."""

    def __init__(self, prefix: bytes, new: Descent, old: Descent | None) -> None:
        self.prefix = prefix
        self.old = old
        names = set(os.listdir(new.fd))
        if old is not None:
            names.update(os.listdir(old.fd))
        self.names = iter(sorted(map(os.fsencode, names)))


def _node(directory: Descent | None, name: bytes) -> Node | None:
    if directory is None:
        return None
    try:
        status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Node(directory.fd, name, status)


def walk(directory: Path) -> Iterator[Node]:
    """Everything below a directory. Raises LayerError."""
    for pair in PairWalk(directory):
        assert pair.new is not None
        yield pair.new
