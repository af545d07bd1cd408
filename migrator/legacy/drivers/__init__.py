"""The storage drivers, one file each; nothing else in migrator knows them by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from migrator.errors import DriverError
from migrator.legacy.drivers.aufs import Aufs
from migrator.legacy.drivers.base import Driver
from migrator.legacy.drivers.btrfs import Btrfs
from migrator.legacy.drivers.overlay import Overlay
from migrator.legacy.drivers.vfs import Vfs

READABLE: dict[str, type[Driver]] = {driver.name: driver for driver in (Aufs, Btrfs, Overlay, Vfs)}
KNOWN = tuple(sorted({*READABLE, "devicemapper", "overlay2", "zfs"}))

__all__ = ["KNOWN", "READABLE", "Driver", "get"]


def get(name: str, data_root: Path, storage_opts: Iterable[str] = ()) -> Driver:
    """The driver `name` of a data root; raises DriverError if migrator cannot read it."""
    if name not in READABLE:
        raise DriverError(
            f"layers of the {name} driver cannot be read yet",
            subject=str(data_root),
            hint=f"drivers that can be read: {', '.join(READABLE)}",
        )
    return READABLE[name](data_root, storage_opts)
