"""The overlay driver: hard-linked complete trees (Docker 1.9 daemon/graphdriver/overlay)."""

from __future__ import annotations

from pathlib import Path

from migrator.files import is_directory
from migrator.legacy.drivers.base import Driver


class Overlay(Driver):
    """`overlay/<id>/root` for images, `overlay/<id>/{upper,work,merged}` for containers."""

    name = "overlay"

    def layer_root(self, layer: str) -> Path:
        return self.directory / layer / "root"

    def container_exists(self, layer: str) -> bool:
        return is_directory(self.directory / layer)
