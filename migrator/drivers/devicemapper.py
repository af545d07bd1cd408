"""The devicemapper driver: a thin device a layer (Docker 1.9 daemon/graphdriver/devmapper)."""

from __future__ import annotations

from contextlib import AbstractContextManager

from migrator.drivers.base import Driver
from migrator.errors import DriverError


class Devicemapper(Driver):
    """`devicemapper/metadata/<id>` names the layer's device in the thin pool."""

    name = "devicemapper"
    holder = "devicemapper/metadata/{}"
    files = None

    def opened(self) -> AbstractContextManager[None]:
        raise DriverError("layers of this driver cannot be read yet", subject=self.name)
