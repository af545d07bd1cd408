"""The overlay driver: hard-linked complete trees (Docker 1.9 daemon/graphdriver/overlay).

A layer that is unpacked onto a complete tree becomes one, too. BuildKit (Docker
>= 18.06) makes its layers the way containers' are made: `upper` on the complete
tree that `lower-id` names. What is made on such a layer, by whatever command,
begins as a copy of its `upper`, on the same tree (Create, ApplyDiff).
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from migrator.drivers.base import Driver
from migrator.errors import FormatError, LayerError, RecordError
from migrator.system.files import is_directory, read_file
from migrator.tree.changes import DiffSource
from migrator.tree.ownfiles import OwnFiles

_LOWER_ID = "lower-id"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Overlay(Driver):
    """`overlay/<id>/root` for images, `overlay/<id>/{upper,work,merged}` for containers."""

    name = "overlay"
    holder = "overlay/{}"
    files = "overlay/{}/root"

    def shown(self, layer: str) -> str:
        return f"{self.name}/{layer}/{'root' if self.is_complete(layer) else 'upper'}"

    def layer_root(self, layer: str) -> Path:
        return self.data_root / self.shown(layer)

    def is_complete(self, layer: str) -> bool:
        directory = self.directory / layer
        return os.path.lexists(directory / "root") or not os.path.lexists(directory / "upper")

    def check(self, layer: str) -> None:
        if not self.is_complete(layer):
            self._lower(layer)

    def layer_exists(self, layer: str) -> bool:
        directory = self.directory / layer
        return is_directory(directory) and is_directory(directory / "root")

    def container_exists(self, layer: str) -> bool:
        return is_directory(self.directory / layer)

    def diff_source(self, layer: str, parent: str | None) -> DiffSource:
        if not self.is_complete(layer):
            raise RecordError("it cannot be, as it is no complete tree")
        return super().diff_source(layer, parent)

    def copied_from(self, layer: str, parent: str | None) -> str | None:
        if parent is None or self.is_complete(layer):
            return parent
        # BuildKit may have built on another copy of the parent, one of its cache.
        if self.is_complete(parent) or self._lower(layer) != self._lower(parent):
            return None
        return parent

    def own_files(self, layer: str, parent: str | None) -> OwnFiles:
        if self.is_complete(layer):
            if parent is not None and not self.is_complete(parent):
                raise LayerError("is a complete tree, on a layer that is none")
            # Docker set a directory's time before it filled it (1.9 graphdriver/overlay/copy.go).
            return replace(super().own_files(layer, parent), directory_times=False)
        copied = self.copied_from(layer, parent)
        below = None if copied is None else self.layer_root(copied)
        return OwnFiles("overlay", self.layer_root(layer), below)

    def writable_files(self, layer: str, parent: str | None) -> OwnFiles:
        """A container's upper directory began as a copy of its init layer's, on the same image."""
        upper = self.directory / layer / "upper"
        init = None if parent is None else self.directory / parent / "upper"
        if init is not None and not is_directory(init):
            init = None
        return OwnFiles("overlay", upper, init, directory_times=False)

    def _lower(self, layer: str) -> str:
        """The layer with the complete tree that this one lies on; raises LayerError."""
        shown = f"{self.name}/{layer}/{_LOWER_ID}"
        try:
            content = read_file(self.data_root / shown, 128)
        except FormatError as error:
            raise LayerError(error.message, subject=shown) from None
        if content is None:
            raise LayerError("is missing, so that nobody knows what is below", subject=shown)
        name = content.decode("utf-8", "replace")
        if not (_NAME.fullmatch(name) and self.layer_exists(name)):
            raise LayerError(f"names {name[:100]!r}, which has no complete tree", subject=shown)
        return name
