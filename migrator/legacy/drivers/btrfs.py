"""The btrfs driver: a subvolume a layer (Docker 1.9 daemon/graphdriver/btrfs)."""

from __future__ import annotations

from pathlib import Path

from migrator.legacy.drivers.base import Driver


class Btrfs(Driver):
    """`btrfs/subvolumes/<id>`, a snapshot of the parent's."""

    name = "btrfs"

    def layer_root(self, layer: str) -> Path:
        return self.directory / "subvolumes" / layer
