"""A layer's own files: what it adds, changes and deletes, however a driver keeps it.

Every storage driver describes a layer as `OwnFiles`; every target (a directory
of overlay2, a tar) makes its own of that. Docker's rules for diffs (those are
in `changes`) have no part in it: stacked, the layers show exactly what the
driver shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from migrator.tree.descent import Descent
from migrator.tree.listing import OwnKind, branch_lister, list_tree, list_upper
from migrator.tree.sameness import Sameness
from migrator.tree.selection import RequiredPaths, Selection
from migrator.tree.walk import Walk

__all__ = ["OwnFile", "OwnFiles", "OwnKind", "RequiredPaths"]


class OwnFile(NamedTuple):
    """One path of a layer, relative to its root and without a trailing slash."""

    path: bytes
    kind: OwnKind


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """Where a layer's own files are to be taken from; the storage driver knows.

    `root` is the source directory, which everything but a whiteout is taken from.

    `tree`: all of `root`. `compare`: the complete tree `root` against `below`,
    that of the layer underneath. `aufs`: the branch `root`, on `branches`,
    without what `below`, the nearest of those, has just the same.
    `overlay`: the upper directory `root`, or what it has beyond the upper
    directory `below`, which is stacked underneath and of which it began as a copy.
    """

    kind: Literal["tree", "compare", "aufs", "overlay"]
    root: Path
    below: Path | None = None
    branches: tuple[Path, ...] = ()
    """`aufs`: the branches underneath, nearest first."""
    directory_times: bool = True
    """Whether the driver kept directories' times when it copied what `root` began with.

    If not, a directory that differs in nothing else is not the layer's own.
    """
    nanoseconds: bool = True
    """Whether it kept more than the seconds of times; if not, a time with none equals any."""

    def entries(self, required: RequiredPaths | None = None) -> Iterator[OwnFile]:
        """The layer's own files: a depth-first walk, directories before what is in them, sorted.

        The root itself is not among them; the directories above all others
        are. What is `required` is, too, even when the layer underneath has the
        same. Raises LayerError naming what cannot be read.
        """
        with contextlib.ExitStack() as stack:
            # Directories that are not listed unless something in them is.
            unlisted: list[bytes] = []
            for path, _, kind in self._walk(stack, required):
                while unlisted and not path.startswith(unlisted[-1] + b"/"):
                    unlisted.pop()
                if kind is None:
                    unlisted.append(path)
                    continue
                for directory in unlisted:
                    yield OwnFile(directory, OwnKind.ENTRY)
                unlisted.clear()
                yield OwnFile(path, kind)

    def __iter__(self) -> Iterator[OwnFile]:
        return self.entries()

    def _walk(
        self, stack: contextlib.ExitStack, required: RequiredPaths | None
    ) -> Walk[OwnKind | None]:
        new = stack.enter_context(Descent(self.root))
        old = stack.enter_context(Descent(self.below)) if self.below is not None else None
        lister = {"aufs": branch_lister(self.branches), "overlay": list_upper}.get(
            self.kind, list_tree
        )
        same = Sameness(self.directory_times, self.nanoseconds)
        selection = Selection(new, lister, same, required, copied=self.kind != "aufs")
        return Walk(new, old, selection.look)
