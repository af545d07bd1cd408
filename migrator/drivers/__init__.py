"""The storage drivers, one file each; nothing else in migrator knows them by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from migrator.drivers.aufs import Aufs
from migrator.drivers.base import Driver
from migrator.drivers.btrfs import Btrfs
from migrator.drivers.devicemapper import Devicemapper
from migrator.drivers.overlay import Overlay
from migrator.drivers.overlay2 import Overlay2
from migrator.drivers.vfs import Vfs
from migrator.drivers.zfs import Zfs
from migrator.errors import DriverError

_DRIVERS: dict[str, type[Driver]] = {
    driver.name: driver for driver in (Aufs, Btrfs, Devicemapper, Overlay, Overlay2, Vfs, Zfs)
}
KNOWN = tuple(_DRIVERS)

AUTO = "auto"
"""In place of a name: find out which driver it is."""

__all__ = ["AUTO", "KNOWN", "Driver", "get"]


def get(
    name: str, data_root: Path, storage_opts: Iterable[str] = (), work_dir: Path | None = None
) -> Driver:
    """The driver `name` of a data root; raises DriverError if there is no such driver."""
    if name not in _DRIVERS:
        raise DriverError(f"unknown storage driver {name!r}", subject=str(data_root))
    return _DRIVERS[name](data_root, storage_opts, work_dir)
