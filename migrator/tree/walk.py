"""The walk through directories: depth first, by descriptor, in one tree or in two side by side.

No recursion, no path too long, no link followed. What is to be seen in a
directory, and which of it is entered, is a matter of who walks: a `Look`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from migrator.tree.descent import Descent, unreadable

T = TypeVar("T")

Step = tuple[bytes, T, bool, bool]
"""A name in a directory, what it is to whoever walks, whether the walk goes in, and in both trees.

A plain tuple, because trees have millions of files.
"""

Look = Callable[[bytes, Descent | None, T | None], Iterable[Step[T]]]
"""What there is in the directory that the walk has entered, in the order of the walk.

It gets what to put before the names, the same directory of the old tree unless
the walk is in the new one alone, and what the directory is (None for the
roots). Raises OSError, LayerError.
"""


class Walk(Generic[T]):
    """All steps as path, name and what it is; a directory comes before what is in it.

    `new` and `old` stand at the roots. When a step comes out, they stand in the
    directory that it is of, as far as that is looked at in both. Iterating
    walks once. Raises LayerError naming what cannot be read.
    """

    def __init__(self, new: Descent, old: Descent | None, look: Look[T]) -> None:
        self._new = new
        self._old = old
        self._look = look
        # What an error is about.
        self._path = b""

    def __iter__(self) -> Iterator[tuple[bytes, bytes, T]]:
        try:
            prefix, old = b"", self._old
            steps = iter(self._look(prefix, old, None))
            above = []
            while True:
                for name, what, enter, in_both in steps:
                    path = prefix + name
                    yield path, name, what
                    if enter:
                        above.append((prefix, old, steps))
                        old = old if in_both else None
                        self._down(path, name, old)
                        prefix = path + b"/"
                        steps = iter(self._look(prefix, old, what))
                        break
                else:
                    if not above:
                        return
                    left, (prefix, old, steps) = old, above.pop()
                    self._up(prefix[:-1], left)
        except OSError as error:
            raise unreadable(self._path, error) from None

    def _down(self, path: bytes, name: bytes, old: Descent | None) -> None:
        self._path = path
        self._new.down(name)
        if old is not None:
            old.down(name)

    def _up(self, path: bytes, old: Descent | None) -> None:
        self._path = path
        self._new.up()
        if old is not None:
            old.up()


def names_below(
    at: Descent, wanted_at_top: Callable[[bytes], bool] | None = None
) -> Iterator[tuple[bytes, bytes, bool]]:
    """All that is in one tree: path, name, and whether it is a directory; those are sorted.

    `at` stands at the root, and then where the name is. Of what is in the root
    itself, only what is `wanted_at_top`. Raises LayerError.
    """

    def look(prefix: bytes, old: Descent | None, what: bool | None) -> list[Step[bool]]:
        steps = []
        with os.scandir(at.fd) as entries:
            for entry in entries:
                is_directory = entry.is_dir(follow_symlinks=False)
                steps.append((os.fsencode(entry.name), is_directory, is_directory, False))
        if wanted_at_top is not None and not prefix:
            steps = [step for step in steps if wanted_at_top(step[0])]
        steps.sort()
        return steps

    return iter(Walk(at, None, look))
