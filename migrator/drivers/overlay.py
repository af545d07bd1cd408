"""The overlay driver: hard-linked complete trees (Docker 1.9 daemon/graphdriver/overlay)."""

from __future__ import annotations

from dataclasses import replace

from migrator.drivers.base import Driver
from migrator.files import is_directory
from migrator.layer.own import OwnFiles


class Overlay(Driver):
    """`overlay/<id>/root` for images, `overlay/<id>/{upper,work,merged}` for containers."""

    name = "overlay"
    holder = "overlay/{}"
    files = "overlay/{}/root"

    def container_exists(self, layer: str) -> bool:
        return is_directory(self.directory / layer)

    def own_files(self, layer: str, parent: str | None) -> OwnFiles:
        # Docker set a directory's time before it filled it (1.9 graphdriver/overlay/copy.go).
        return replace(super().own_files(layer, parent), directory_times=False)

    def writable_files(self, layer: str, parent: str | None) -> OwnFiles:
        """A container's upper directory began as a copy of its init layer's, on the same image."""
        upper = self.directory / layer / "upper"
        init = None if parent is None else self.directory / parent / "upper"
        if init is not None and not is_directory(init):
            init = None
        return OwnFiles("overlay", upper, init, directory_times=False)
