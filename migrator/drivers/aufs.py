"""The aufs driver: one branch a layer (Docker 1.9 daemon/graphdriver/aufs)."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from migrator.drivers.base import Driver
from migrator.errors import FormatError, LayerError
from migrator.system.files import read_file
from migrator.tree.changes import DiffSource
from migrator.tree.ownfiles import OwnFiles

# Far more than a line of 70 bytes for each of the 127 layers that Docker allowed.
_MAX_ANCESTORS = 1 << 20
_LAYER = re.compile(r"[0-9a-f]{64}(-init)?")


class Aufs(Driver):
    """`aufs/diff/<id>` holds a layer's own files, `aufs/layers/<id>` lists its ancestors."""

    name = "aufs"
    complete_trees = False
    holder = files = "aufs/diff/{}"

    def container_exists(self, layer: str) -> bool:
        return os.path.lexists(self.directory / "layers" / layer)

    def diff_source(self, layer: str, parent: str | None) -> DiffSource:
        return DiffSource("branch", self.layer_root(layer))

    def own_files(self, layer: str, parent: str | None) -> OwnFiles:
        branches = () if parent is None else self._ancestors(layer)
        return OwnFiles("aufs", self.layer_root(layer), branches=branches)

    def writable_files(self, layer: str, parent: str | None) -> OwnFiles:
        """A container's branch may repeat files of its init layer: those are no changes."""
        files = self.own_files(layer, parent)
        return replace(files, below=files.branches[0]) if files.branches else files

    def _ancestors(self, layer: str) -> tuple[Path, ...]:
        """The branches under a layer's, nearest first."""
        path = self.directory / "layers" / layer
        try:
            content = read_file(path, _MAX_ANCESTORS)
        except FormatError as error:
            raise LayerError(error.message, subject=error.subject) from None
        if content is None:
            raise LayerError("is gone, so that nobody knows the layers below", subject=str(path))
        names = content.decode(errors="replace").split()
        if not all(map(_LAYER.fullmatch, names)):
            raise LayerError("names something that is no layer", subject=str(path))
        return tuple(map(self.layer_root, names))
