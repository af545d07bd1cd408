"""The overlay driver: hard-linked complete trees (Docker 1.9 daemon/graphdriver/overlay)."""

from __future__ import annotations

from migrator.drivers.base import Driver
from migrator.files import is_directory


class Overlay(Driver):
    """`overlay/<id>/root` for images, `overlay/<id>/{upper,work,merged}` for containers."""

    name = "overlay"
    holder = "overlay/{}"
    files = "overlay/{}/root"

    def container_exists(self, layer: str) -> bool:
        return is_directory(self.directory / layer)
