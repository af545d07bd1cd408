"""In which order layers are read from a thin pool, so that little of it is read twice.

A worker goes down the tree of layers: what a child shares with its parent is in
its image already. Back from the end of a branch, only what that branch had
replaced is read again, once in all. What costs more is to begin a branch in
another worker, whose image has nothing of the ancestors: that is allowed as
long as all that is read stays below twice what the layers have between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """How many blocks a layer's device has that its parent's has not, and the reverse.

    A layer without parent has all of its blocks for itself.
    """

    own: int
    replaced: int


class BranchOrder:
    """Chooses the layer that a worker reads next: see `migrator.system.worker_pool.Choose`."""

    def __init__(
        self, parents: Mapping[str, str | None], changes: Mapping[str, Change], distinct: int
    ) -> None:
        """`parents` has all layers; `distinct` is how many blocks they have between them."""
        self._parents = parents
        self._changes = changes
        self._spare = 2 * distinct - sum(c.own + c.replaced for c in changes.values())
        self._done: set[str] = set()
        self._weights = dict.fromkeys(parents, 0)
        for layer in parents:
            weight = changes[layer].own + 1
            for member in self._line(layer):
                self._weights[member] += weight

    def __call__(self, last: str | None, waiting: Sequence[str]) -> int | None:
        if last is not None:
            self._done.add(last)
        begun = [] if last is None else list(self._line(last))
        nearness = {layer: len(begun) - index for index, layer in enumerate(begun)}
        best: tuple[int, int, int] | None = None
        chosen = None
        for index, layer in enumerate(waiting):
            parent = self._parents[layer]
            if parent in self._parents and parent not in self._done:
                continue
            extra = self._extra(layer, nearness)
            if extra > self._spare and extra:
                continue
            rank = (-(extra > 0), nearness.get(parent or "", 0), self._weights[layer])
            if best is None or rank > best:
                best, chosen, cost = rank, index, extra
        if chosen is not None:
            self._spare -= cost
        return chosen

    def _line(self, layer: str) -> Iterator[str]:
        """A layer and its ancestors, nearest first."""
        at: str | None = layer
        while at is not None and at in self._parents:
            yield at
            at = self._parents[at]

    def _extra(self, layer: str, begun: Mapping[str, int]) -> int:
        """Blocks that are read again if a worker with the image of `begun` does `layer`."""
        ancestors = self._line(layer)
        next(ancestors)
        extra = 0
        for ancestor in ancestors:
            if ancestor in begun:
                break
            extra += self._changes[ancestor].own
        return extra
