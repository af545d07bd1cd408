"""Two trees path by path: all that either has, with its status."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from migrator.tree.descent import Descent
from migrator.tree.walk import Walk


class Node(NamedTuple):
    """Something in a tree: its name in the open directory `fd`, and its status."""

    fd: int
    name: bytes
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


class Pair(NamedTuple):
    """What two trees have of one name; None where a tree has nothing."""

    name: bytes
    new: Node | None
    old: Node | None
    in_both: bool

    @property
    def enter(self) -> bool:
        """What is only in the old tree is not entered."""
        return self.new is not None and self.new.is_directory


def pairs(
    new: Path, old: Path | None, hides_old: Callable[[bytes], bool]
) -> Iterator[tuple[bytes, Pair]]:
    """The union of two trees by path, sorted, parents first.

    Descriptors in a pair are open until the next one is asked for. Below a path
    that `hides_old`, `new` is looked at alone. Raises LayerError when a
    directory cannot be read.
    """
    with contextlib.ExitStack() as stack:
        new_at = stack.enter_context(Descent(new))
        old_at = stack.enter_context(Descent(old)) if old is not None else None

        def look(prefix: bytes, old: Descent | None, _: Pair | None) -> Iterator[Pair]:
            names = set(os.listdir(new_at.fd))
            if old is not None:
                names.update(os.listdir(old.fd))
            for name in sorted(map(os.fsencode, names)):
                before = _node(old, name)
                in_both = before is not None and before.is_directory
                in_both = in_both and not hides_old(prefix + name)
                yield Pair(name, _node(new_at, name), before, in_both)

        yield from Walk(new_at, old_at, look)


def _node(directory: Descent | None, name: bytes) -> Node | None:
    if directory is None:
        return None
    try:
        status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Node(directory.fd, name, status)
