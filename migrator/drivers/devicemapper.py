"""The devicemapper driver: a thin device a layer (Docker 1.9 daemon/graphdriver/devmapper)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from migrator.drivers.base import Driver
from migrator.drivers.thinpool.location import DATA, METADATA, POOL
from migrator.drivers.thinpool.store import SNAPSHOT, ThinStore
from migrator.system.files import is_regular
from migrator.system.worker_pool import Schedule

# Options of the daemon's that make no difference to who only reads.
_OTHERS = (
    *("dm.basesize", "dm.loopdatasize", "dm.loopmetadatasize", "dm.fs", "dm.mkfsarg"),
    *("dm.mountopt", "dm.blocksize", "dm.blkdiscard", "dm.override_udev_sync_check"),
    *("dm.use_deferred_removal", "dm.use_deferred_deletion"),
)


class Devicemapper(Driver):
    """`devicemapper/metadata/<id>` names the layer's device in the thin pool.

    The pool is read without the kernel's device-mapper: see
    `migrator.drivers.thinpool`. While it is open, layers are below `devicemapper/mnt`,
    as the daemon has them, in a mount namespace that nobody else sees.
    """

    name = "devicemapper"
    options = frozenset({DATA, METADATA, POOL, SNAPSHOT, *_OTHERS})
    holder = "devicemapper/metadata/{}"
    files = None

    _store: ThinStore | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        assert self._store is None
        with ThinStore.opened(self.directory, self.storage_opts, self.work_dir) as store:
            self._store = store
            try:
                yield
            finally:
                self._store = None

    @contextlib.contextmanager
    def prepared(self, *layers: str) -> Iterator[None]:
        assert self._store is not None
        self._store.prepare(layers)
        yield

    def schedule(self, parents: Mapping[str, str | None], workers: int) -> Schedule:
        assert self._store is not None
        return self._store.schedule(parents, workers)

    def version(self, layer: str) -> str | None:
        assert self._store is not None
        return self._store.version(layer)

    def layer_root(self, layer: str) -> Path:
        return self.directory / "mnt" / layer / "rootfs"

    def shown(self, layer: str) -> str:
        return f"{self.name}/mnt/{layer}/rootfs"

    def layer_exists(self, layer: str) -> bool:
        return is_regular(self.directory / "metadata" / layer)
