"""A store of the devicemapper driver, open for reading."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from blake3 import blake3

from migrator.drivers.thinpool import loop, mapping
from migrator.drivers.thinpool.location import find_pool, users
from migrator.drivers.thinpool.mounting import HEAD, Reader, file_system_of, naming
from migrator.drivers.thinpool.order import BranchOrder, Change
from migrator.drivers.thinpool.pool import Device, ThinPool
from migrator.drivers.thinpool.records import Records
from migrator.errors import DriverError, LayerError, StoreError
from migrator.system import disk
from migrator.system.files import is_directory
from migrator.system.namespace import mount, private_mounts, unmount
from migrator.system.worker_pool import Schedule
from migrator.text import quantity, shown

SNAPSHOT = "dm.metadata-snapshot"

# Images that a worker holds at once: a layer's and its parent's.
_IMAGES = 2

# <linux/mount.h>
_MS_BIND = 0x1000


class ThinStore:
    """Devices by layer ID, mounted below `<directory>/mnt`; for a process and its forks."""

    def __init__(self, directory: Path, pool: ThinPool, records: Records, work_dir: Path) -> None:
        self._directory = directory
        self._pool = pool
        self._records = records
        self._work_dir = work_dir
        self._process = os.getpid()
        self._inside = contextlib.ExitStack()
        self._roomy = False
        self._reader = self._new_reader()

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls, directory: Path, options: Mapping[str, str], work_dir: Path | None
    ) -> Iterator[ThinStore]:
        """Open the store with the driver's directory `directory`.

        Until the end this process sees other things there than all others do.
        Raises DriverError for what is missing on this machine.
        """
        snapshot = _truth(options)
        _check_tools()
        if not is_directory(directory):
            raise DriverError("is not a directory", subject=shown(str(directory)))
        place = find_pool(directory, options)
        holders = users(place)
        if holders and not snapshot:
            raise DriverError(
                f"the kernel has the thin pool open: {', '.join(holders)}",
                subject=shown(str(place.metadata)),
                hint="stop the Docker daemon and remove these devices (dmsetup remove), or"
                " reserve a metadata snapshot (dmsetup message POOL 0 reserve_metadata_snap)"
                f" and give --storage-opt {SNAPSHOT}=true",
            )
        work_dir = _usable(work_dir)
        loop.clear_leftovers(work_dir)
        with contextlib.ExitStack() as stack:
            records = Records(directory / "metadata")
            pool = ThinPool(place, snapshot=snapshot)
            stack.callback(pool.close)
            stack.enter_context(private_mounts())
            store = cls(directory, pool, records, work_dir)
            store._check_file_systems()
            stack.enter_context(_covered(directory))
            stack.callback(store._close)
            yield store

    def prepare(self, layers: Iterable[str]) -> None:
        """Have these layers mounted, and no others; raises LayerError, StoreError."""
        if self._process != os.getpid():
            # Forked: the same places are to show other layers here.
            self._inside.enter_context(private_mounts())
            self._reader = self._new_reader()
            self._process = os.getpid()
        wanted = {}
        for layer in layers:
            with naming(self._directory / "mnt" / layer):
                wanted[layer] = self._device(layer)
        self._reader.prepare(wanted)

    def schedule(self, parents: Mapping[str, str | None], workers: int) -> Schedule:
        """How to read these layers with so many workers; raises StoreError for want of room.

        Images are sparse, but what is mapped of the largest layer may be in all of them.
        """
        devices: dict[str, Device] = {}
        for layer in parents:
            with contextlib.suppress(LayerError):
                devices[layer] = self._device(layer)
        largest = max((device.mapping.blocks for device in devices.values()), default=0)
        need = _IMAGES * self._pool.block_size * largest
        with disk.operation("statfs", self._work_dir):
            status = os.statvfs(self._work_dir)
        free = status.f_bavail * status.f_frsize
        if need > free:
            raise StoreError(
                f"no room for the images of layers: {quantity(need)} are needed,"
                f" {quantity(free)} are free",
                subject=shown(str(self._work_dir)),
                hint="name a directory with more room: --work-dir",
            )
        workers = min(workers, free // need) if need else workers
        mappings = [device.mapping for device in devices.values()]
        everything = mapping.extent(mappings)
        roomy = _IMAGES * self._pool.block_size * everything * max(workers, 1) <= free
        self._roomy = self._reader.roomy = roomy
        changes = {layer: self._change(devices, layer, parents[layer]) for layer in parents}
        distinct = mapping.distinct_data(mappings)
        return Schedule(workers, BranchOrder(parents, changes, distinct))

    def version(self, layer: str) -> str | None:
        """Something that changes whenever the layer may have; None if nothing tells."""
        if self._pool.stamp is None:
            return None
        try:
            device = self._device(layer)
        except LayerError:
            return None
        digest = blake3(device.mapping.tobytes()).hexdigest()
        return f"{self._pool.stamp} {self._pool.block_size} {device.blocks} {digest}"

    def _new_reader(self) -> Reader:
        return Reader(self._pool, self._directory / "mnt", self._work_dir, self._roomy)

    def _device(self, layer: str) -> Device:
        record = self._records.of(layer)
        return self._pool.device(record.number, record.size)

    def _change(self, devices: Mapping[str, Device], layer: str, parent: str | None) -> Change:
        device, below = devices.get(layer), devices.get(parent or "")
        if device is None:
            return Change(0, 0)
        if below is None:
            return Change(device.mapping.blocks, 0)
        own = mapping.total(mapping.changed(device.mapping, below.mapping))
        return Change(own, mapping.total(mapping.changed(below.mapping, device.mapping)))

    def _close(self) -> None:
        if self._process == os.getpid():
            self._reader.close()

    def _check_file_systems(self) -> None:
        """Raise DriverError if the kernel cannot mount what is in the pool."""
        heads = set()
        for record in self._records.readable():
            with contextlib.suppress(LayerError):
                heads.add(self._pool.beginning(self._pool.device(record.number, record.size), HEAD))
        for fs_type in {*map(file_system_of, heads)} - {None}:
            assert fs_type is not None
            try:
                mount(os.devnull, self._directory, fs_type)
            except OSError as error:
                # Only then was it not the device that is wrong.
                if error.errno == errno.ENODEV:
                    raise DriverError(
                        f"the kernel has no {fs_type}, which layers are in",
                        subject=shown(str(self._directory)),
                        hint=f"load its module (modprobe {fs_type}), of the package"
                        " linux-modules-extra (Red Hat: kernel-modules)",
                    ) from None


def _truth(options: Mapping[str, str]) -> bool:
    value = options.get(SNAPSHOT, "false")
    if value not in ("true", "false"):
        raise DriverError(f"{SNAPSHOT} is true or false, not {value!r}")
    return value == "true"


def _check_tools() -> None:
    missing = []
    if mapping.thin_dump() is None:
        missing.append(f"the program thin_dump, of the package {mapping.PACKAGE}")
    try:
        os.close(os.open(loop.CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        missing.append(
            f"loop devices: {loop.CONTROL} ({error.strerror}; modprobe loop as root,"
            " in a container --privileged and -v /dev:/dev)"
        )
    if missing:
        raise DriverError("it takes " + "; ".join(missing), subject="devicemapper")


def _usable(work_dir: Path | None) -> Path:
    """The directory for images: by default one for large files, which outlives a restart."""
    path = work_dir or Path(os.environ.get("TMPDIR") or "/var/tmp")
    if not path.is_dir() or not os.access(path, os.W_OK):
        raise DriverError(
            "is not a directory that can be written to",
            subject=shown(str(path)),
            hint="name one for temporary files: --work-dir",
        )
    return path.absolute()


@contextlib.contextmanager
def _covered(directory: Path) -> Iterator[None]:
    """A file system in memory over the driver's directory, with the records and a place to mount.

    So nothing has to be made in the store, which may be on a read-only disk, or elsewhere.
    """
    has_records = is_directory(directory / "metadata")
    below = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with disk.operation("mount", directory):
            mount("none", directory, "tmpfs", data="mode=700")
            (directory / "mnt").mkdir()
            if has_records:
                (directory / "metadata").mkdir()
                mount(f"/proc/self/fd/{below}/metadata", directory / "metadata", "", _MS_BIND)
    finally:
        os.close(below)
    try:
        yield
    finally:
        with disk.operation("unmount", directory):
            unmount(directory, detach=True)
