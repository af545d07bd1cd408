"""What has to be built, with the names that it gets and the way in which files come there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from migrator.conversion.building import ContainerLayers, ImageLayer, Layers, Origin, TreeTask
from migrator.conversion.names import Names
from migrator.errors import LayerError, MigratorError
from migrator.layer.load import Load
from migrator.store import overlay2
from migrator.tree.overlaydir import Transfer, choose_transfer
from migrator.tree.ownfiles import OwnFiles


class Tasks:
    """The tasks for `layers`, whose driver is opened; iterate over them.

    `layers` has the directories' names by chainID, `containers` mount-id and
    init-id by container, `owners` the chainID or container by directory.
    `failed` are chainIDs and containers that cannot be built.
    """

    def __init__(self, layers: Layers, names: Names, directory: Path) -> None:
        """The tasks are to build below `directory`. Raises StoreError."""
        self._driver = layers.driver
        self._names = names
        self._directory = directory
        self._owner = _owner(layers.driver.directory)
        self._tasks: list[TreeTask] = []
        self.layers: dict[str, str] = {}
        self.containers: dict[str, tuple[str, str | None]] = {}
        self.owners: dict[str, str] = {}
        self.failed: dict[str, MigratorError] = {}
        self._transfers = self._choose_transfers(layers)
        for layer in layers.images:
            with self._failing(layer.chain):
                self._image(layer)
        for container in layers.containers:
            with self._failing(container.container):
                self._container(container)

    def __iter__(self) -> Iterator[TreeTask]:
        return iter(self._tasks)

    @contextlib.contextmanager
    def _failing(self, owner: str) -> Iterator[None]:
        try:
            yield
        except LayerError as error:
            self.failed[owner] = error

    def _image(self, layer: ImageLayer) -> None:
        stack = self._names.stack(layer.parent)
        name = self._names.directory(layer.origins[0].layer)
        self._names.add(layer.chain, layer.parent, name)
        self.layers[layer.chain] = name
        entries = Load.estimated(layer.size, layer.record_size).files
        self._add(layer.chain, name, layer.origins, stack, layer.size, entries, writable=False)

    def _container(self, container: ContainerLayers) -> None:
        stack = self._names.stack(container.parent)
        below = container.below
        init = None
        if container.init is not None:
            init = self._names.directory(container.init)
            self._writable(container.container, init, Origin(container.init, below), stack)
            stack = (self._names.link(init), *stack)
            below = container.init
        name = self._names.directory(container.writable)
        self._writable(container.container, name, Origin(container.writable, below), stack)
        self.containers[container.container] = name, init

    def _writable(self, owner: str, name: str, origin: Origin, stack: tuple[str, ...]) -> None:
        layers = [layer for layer in (origin.layer, origin.parent) if layer is not None]
        with self._driver.prepared(*layers):
            size, entries = measure(self._driver.writable_files(origin.layer, origin.parent))
        self._add(owner, name, (origin,), stack, size, entries, writable=True)

    def _add(
        self,
        owner: str,
        name: str,
        origins: tuple[Origin, ...],
        stack: tuple[str, ...],
        size: int,
        entries: int,
        *,
        writable: bool,
    ) -> None:
        self.owners[name] = owner
        task = TreeTask(
            origins=origins,
            target=self._directory / name,
            link=self._names.link(name),
            lower=overlay2.lower(stack),
            writable=writable,
            transfer=self._transfers[writable],
            size=size,
            entries=entries,
            owner=self._owner,
        )
        self._tasks.append(task)

    def _choose_transfers(self, layers: Layers) -> dict[bool, Transfer]:
        """The ways for layers that are writable, or not, tried with the largest one."""
        largest = sorted(layers.images, key=lambda layer: -layer.size)
        origins = [layer.origins[0] for layer in largest]
        origins += [Origin(each.below, None) for each in layers.containers if each.below]
        for origin in origins:
            with contextlib.suppress(LayerError), self._driver.prepared(origin.layer):
                root = self._driver.layer_root(origin.layer)
                return {
                    writable: choose_transfer(root, self._directory, links=not writable)
                    for writable in (True, False)
                }
        return dict.fromkeys((True, False), Transfer.COPY)


def measure(files: OwnFiles) -> tuple[int, int]:
    """Bytes on the disk and number of a layer's own files. Raises LayerError."""
    size = entries = 0
    root = os.fsencode(files.root)
    for each in files:
        entries += 1
        # What is too deep for a path is small beside the rest.
        with contextlib.suppress(OSError):
            size += 512 * os.lstat(os.path.join(root, each.path)).st_blocks
    return size, entries


def _owner(directory: Path) -> tuple[int, int]:
    """User and group of a driver's directory: root, or whom root of containers is mapped to."""
    try:
        status = directory.lstat()
    except OSError:
        return 0, 0
    return status.st_uid, status.st_gid
