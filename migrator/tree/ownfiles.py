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
from typing import Literal

from migrator.layer.recordpaths import RecordPaths
from migrator.tree.descent import Descent
from migrator.tree.listing import OwnKind, branch_lister, list_tree, list_upper
from migrator.tree.ownwalk import Own, OwnWalk
from migrator.tree.sameness import Sameness

__all__ = ["Own", "OwnFiles", "OwnKind"]


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

    def entries(self, record: Path | None = None) -> Iterator[Own]:
        """The layer's own files: a depth-first walk, directories before what is in them, sorted.

        The root itself is not among them; the directories above all others
        are. A file is, too, if the tar-split record `record` names it with
        content, even when the layer underneath has the same. Raises LayerError
        naming what cannot be read, RecordError.
        """
        lister = {"aufs": branch_lister(self.branches), "overlay": list_upper}.get(
            self.kind, list_tree
        )
        same = Sameness(self.directory_times, self.nanoseconds)
        paths = None
        # All of a tree is there anyway.
        if record is not None and self.kind != "tree":
            paths = RecordPaths(self.root, record)
        with contextlib.ExitStack() as stack:
            new = stack.enter_context(Descent(self.root))
            old = stack.enter_context(Descent(self.below)) if self.below is not None else None
            yield from OwnWalk(new, old, lister, same, paths, copied=self.kind != "aufs")

    def __iter__(self) -> Iterator[Own]:
        return self.entries()
