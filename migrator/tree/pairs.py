"""Two trees path by path: all that either has, with its status."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from migrator.tree.descent import Descent
from migrator.tree.walk import Step, Walk


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

    new: Node | None
    old: Node | None


def pairs(
    new: Path, old: Path | None, hides_old: Callable[[bytes], bool]
) -> Iterator[tuple[bytes, Pair]]:
    """The union of two trees by path, sorted, parents first.

    Descriptors in a pair are open until the next one is asked for. A directory
    in `new` is entered, together with that of the same path in `old` unless the
    path `hides_old`; what is only in `old` is not. Raises LayerError when a
    directory cannot be read.
    """
    with contextlib.ExitStack() as stack:
        new_at = stack.enter_context(Descent(new))
        old_at = stack.enter_context(Descent(old)) if old is not None else None

        def look(prefix: bytes, old: Descent | None, _: Pair | None) -> Iterator[Step[Pair]]:
            names = set(os.listdir(new_at.fd))
            if old is not None:
                names.update(os.listdir(old.fd))
            for name in sorted(map(os.fsencode, names)):
                pair = Pair(_node(new_at, name), _node(old, name))
                enter = pair.new is not None and pair.new.is_directory
                in_both = enter and pair.old is not None and pair.old.is_directory
                yield name, pair, enter, in_both and not hides_old(prefix + name)

        for path, _, pair in Walk(new_at, old_at, look):
            yield path, pair


def _node(directory: Descent | None, name: bytes) -> Node | None:
    if directory is None:
        return None
    try:
        status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Node(directory.fd, name, status)
