"""The zfs driver: a dataset a layer (Docker 1.9 daemon/graphdriver/zfs)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from migrator.drivers.base import Driver
from migrator.drivers.zpool.aside import Aside, place_aside
from migrator.drivers.zpool.datasets import Datasets, checked_name, parent_of_layers
from migrator.drivers.zpool.fuse import FuseAside
from migrator.drivers.zpool.kernel import KernelAside, has_zfs
from migrator.errors import LayerError

_FSNAME = "zfs.fsname"


class Zfs(Driver):
    """`<parent dataset>/<id>`, a clone of a snapshot of the parent's."""

    name = "zfs"
    options = frozenset({_FSNAME})
    holder = None
    files = None

    # The datasets, while it is opened.
    _aside: Aside | None = None

    def __init__(
        self, data_root: Path, storage_opts: Iterable[str] = (), work_dir: Path | None = None
    ) -> None:
        super().__init__(data_root, storage_opts, work_dir)
        self._fsname = self.storage_opts.get(_FSNAME, "")
        if self._fsname:
            checked_name(self._fsname)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        assert self._aside is None
        aside = self._new_aside()
        with aside.opened():
            self._aside = aside
            try:
                yield
            finally:
                self._aside = None

    def settle(self) -> None:
        """Put right what a killed run left changed; raises DriverError."""
        with self._new_aside().opened():
            pass

    @contextlib.contextmanager
    def prepared(self, *layers: str) -> Iterator[None]:
        aside = self._aside
        assert aside is not None
        with contextlib.ExitStack() as stack:
            for layer in layers:
                if layer not in aside.datasets.children:
                    raise LayerError("there is no such dataset", subject=self.shown(layer))
                stack.enter_context(aside.mounted(layer))
            yield

    def layer_root(self, layer: str) -> Path:
        if self._aside is None:
            return place_aside(self._parent, layer)
        return self._aside.place(layer)

    def shown(self, layer: str) -> str:
        return f"{self._parent}/{layer}"

    def layer_exists(self, layer: str) -> bool:
        datasets = self._datasets if self._aside is None else self._aside.datasets
        return layer in datasets.children

    @cached_property
    def _parent(self) -> str:
        return self._fsname or parent_of_layers(self.data_root)

    @cached_property
    def _datasets(self) -> Datasets:
        return Datasets.below(self._parent)

    def _new_aside(self) -> Aside:
        return KernelAside(self._parent) if has_zfs() else FuseAside(self._parent)
