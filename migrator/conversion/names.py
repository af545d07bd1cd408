"""What directories and short names in `overlay2/` are to be called, and what they are called there.

Names are the same in every run as long as what is there already is the same.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

from migrator.errors import FormatError, LayerError
from migrator.store import overlay2
from migrator.store.layerdb import LayerStore
from migrator.store.layout import Layout
from migrator.store.lines import line
from migrator.system.rootfiles import RootFiles


class Names:
    """Names in a data root's `overlay2/`, for layers that are to come into it.

    `store` are the layers of image/overlay2 that are there already.
    """

    def __init__(self, files: RootFiles, store: LayerStore) -> None:
        self._files = files
        self._store = store
        self._taken = {overlay2.LINKS, *files.names(overlay2.NAME)}
        self._links_taken = set(files.names(f"{overlay2.NAME}/{overlay2.LINKS}"))
        self._mounts = set(files.names(Layout(overlay2.NAME).mounts))
        self._links: dict[str, str] = {}
        self._stacks: dict[str | None, tuple[str, ...]] = {None: ()}

    def has(self, chain: str) -> bool:
        """Whether image/overlay2 has this layer already."""
        return chain in self._store.present

    def has_container(self, container: str) -> bool:
        """Whether image/overlay2 has this container's writable layer already."""
        return container in self._mounts

    def directory(self, wanted: str) -> str:
        """A name for a layer's directory: the one that is wanted, or one made of it."""
        name = _free(self._taken, lambda attempt: _directory(wanted, attempt))
        self._links[name] = _free(
            self._links_taken, lambda attempt: overlay2.short_name(name, attempt)
        )
        return name

    def link(self, name: str) -> str:
        """The short name that goes with a name from `directory`."""
        return self._links[name]

    def add(self, chain: str, parent: str | None, name: str) -> None:
        """Say that the layer `chain` on `parent` has the name `name`, from `directory`."""
        self._stacks[chain] = (self._links[name], *self.stack(parent))

    def stack(self, chain: str | None) -> tuple[str, ...]:
        """The short names of a layer and all below it, nearest first; none for no layer.

        Raises LayerError when the layer is one of image/overlay2, and damaged.
        """
        missing: list[str] = []
        at = chain
        while at is not None and at not in self._stacks:
            layer = self._store.layers.get(at)
            if layer is None or len(missing) > overlay2.MAX_CHAIN:
                raise LayerError(f"the layer {at} of image/overlay2 is damaged")
            missing.append(at)
            at = layer.parent
        for below in reversed(missing):
            layer = self._store.layers[below]
            path = f"{overlay2.NAME}/{layer.cache_id}/link"
            try:
                name = line(self._files, path, overlay2.SHORT_NAME, "short name")
            except FormatError as error:
                raise LayerError(error.message, subject=path) from None
            self._stacks[below] = (name, *self._stacks[layer.parent])
        return self._stacks[chain]


def _directory(wanted: str, attempt: int) -> str:
    if not attempt:
        return wanted
    name, init, _ = wanted.partition("-init")
    return hashlib.sha256(f"{name} {attempt}".encode()).hexdigest() + init


def _free(taken: set[str], name: Callable[[int], str]) -> str:
    """The first of the names for the attempts 0, 1, ... that is not taken, and is now."""
    found = next(each for attempt in itertools.count() if (each := name(attempt)) not in taken)
    taken.add(found)
    return found
