"""The walk through directories: depth first, by descriptor, in one tree or in two side by side.

No recursion, no path too long, no link followed. What is to be seen in a
directory, and which of it is entered, is a matter of who walks: a `Look`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Generic, NamedTuple, Protocol, TypeVar

from migrator.tree.descent import Descent, unreadable


class Step(Protocol):
    """A name in a directory; whether the walk goes in there, and if so, in both trees."""

    @property
    def name(self) -> bytes: ...

    @property
    def enter(self) -> bool: ...

    @property
    def in_both(self) -> bool: ...


S = TypeVar("S", bound=Step)

Look = Callable[[bytes, Descent | None, S | None], Iterable[S]]
"""What there is in the directory that the walk has entered, in the order of the walk.

It gets what to put before the names, the same directory of the old tree unless
the walk is in the new one alone, and the step that led here (None at the roots).
Raises OSError, LayerError.
"""


class Walk(Generic[S]):
    """All steps, each with its path; a directory comes before what is in it. Iterating walks once.

    `new` and `old` stand at the roots. When a step comes out, they stand in the
    directory that it is of, as far as that is looked at in both. Raises
    LayerError naming what cannot be read.
    """

    def __init__(self, new: Descent, old: Descent | None, look: Look[S]) -> None:
        self._new = new
        self._old = old
        self._look = look
        # What an error is about.
        self._path = b""

    def __iter__(self) -> Iterator[tuple[bytes, S]]:
        try:
            yield from self._steps()
        except OSError as error:
            raise unreadable(self._path, error) from None

    def _steps(self) -> Iterator[tuple[bytes, S]]:
        prefix, old = b"", self._old
        steps = iter(self._look(prefix, old, None))
        above = []
        while True:
            for step in steps:
                yield prefix + step.name, step
                if step.enter:
                    above.append((prefix, old, steps))
                    old = old if step.in_both else None
                    prefix = self._down(prefix + step.name, step.name, old)
                    steps = iter(self._look(prefix, old, step))
                    break
            else:
                if not above:
                    return
                left, (prefix, old, steps) = old, above.pop()
                self._up(prefix, left)

    def _down(self, path: bytes, name: bytes, old: Descent | None) -> bytes:
        """Enter the directory `path`; returns what to put before the names there."""
        self._path = path
        self._new.down(name)
        if old is not None:
            old.down(name)
        return path + b"/"

    def _up(self, prefix: bytes, old: Descent | None) -> None:
        self._path = prefix[:-1]
        self._new.up()
        if old is not None:
            old.up()


class Name(NamedTuple):
    """Something in a tree; directories are entered."""

    name: bytes
    enter: bool
    in_both: bool = False


def names_below(
    at: Descent, wanted_at_top: Callable[[bytes], bool] | None = None
) -> Iterator[tuple[bytes, Name]]:
    """All that is in one tree, sorted in each directory, by path; `at` stands at its root.

    Of what is in the root itself, only what is `wanted_at_top`. Raises LayerError.
    """

    def look(prefix: bytes, old: Descent | None, step: Name | None) -> list[Name]:
        with os.scandir(at.fd) as entries:
            names = [
                Name(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False))
                for entry in entries
            ]
        if wanted_at_top is not None and step is None:
            names = [each for each in names if wanted_at_top(each.name)]
        names.sort(key=attrgetter("name"))
        return names

    return iter(Walk(at, None, look))
