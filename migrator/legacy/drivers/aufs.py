"""The aufs driver: one branch a layer (Docker 1.9 daemon/graphdriver/aufs)."""

from __future__ import annotations

import os
from pathlib import Path

from migrator.layer.changes import DiffSource
from migrator.legacy.drivers.base import Driver


class Aufs(Driver):
    """`aufs/diff/<id>` holds a layer's own files, `aufs/layers/<id>` lists its ancestors."""

    name = "aufs"
    complete_trees = False

    def layer_root(self, layer: str) -> Path:
        return self.directory / "diff" / layer

    def container_exists(self, layer: str) -> bool:
        return os.path.lexists(self.directory / "layers" / layer)

    def diff_source(self, layer: str, parent: str | None) -> DiffSource:
        return DiffSource("branch", self.layer_root(layer))
