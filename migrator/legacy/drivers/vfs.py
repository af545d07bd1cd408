"""The vfs driver: a full copy a layer (Docker 1.9 daemon/graphdriver/vfs)."""

from __future__ import annotations

from pathlib import Path

from migrator.legacy.drivers.base import Driver


class Vfs(Driver):
    """`vfs/dir/<id>`; hosts with another driver once kept volumes there."""

    name = "vfs"

    def layer_root(self, layer: str) -> Path:
        return self.directory / "dir" / layer
