"""The zfs driver: a dataset a layer (Docker 1.9 daemon/graphdriver/zfs)."""

from __future__ import annotations

from contextlib import AbstractContextManager

from migrator.drivers.base import Driver
from migrator.errors import DriverError


class Zfs(Driver):
    """`<parent dataset>/<id>`, a clone of a snapshot of the parent's."""

    name = "zfs"
    holder = None
    files = None

    def opened(self) -> AbstractContextManager[None]:
        raise DriverError("layers of this driver cannot be read yet", subject=self.name)
