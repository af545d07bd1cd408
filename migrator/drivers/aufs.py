"""The aufs driver: one branch a layer (Docker 1.9 daemon/graphdriver/aufs)."""

from __future__ import annotations

import os

from migrator.drivers.base import Driver
from migrator.layer.changes import DiffSource


class Aufs(Driver):
    """`aufs/diff/<id>` holds a layer's own files, `aufs/layers/<id>` lists its ancestors."""

    name = "aufs"
    complete_trees = False
    holder = files = "aufs/diff/{}"

    def container_exists(self, layer: str) -> bool:
        return os.path.lexists(self.directory / "layers" / layer)

    def diff_source(self, layer: str, parent: str | None) -> DiffSource:
        return DiffSource("branch", self.layer_root(layer))
