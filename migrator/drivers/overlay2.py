"""The overlay2 driver: a layer's own files, stacked by the kernel (Docker >= 1.12)."""

from __future__ import annotations

from migrator.drivers.base import Driver
from migrator.tree.ownfiles import OwnFiles


class Overlay2(Driver):
    """`overlay2/<id>/diff`; deletions are devices 0/0, opaque directories have an xattr."""

    name = "overlay2"
    complete_trees = False
    holder = "overlay2/{}"
    files = "overlay2/{}/diff"

    def own_files(self, layer: str, parent: str | None) -> OwnFiles:
        return OwnFiles("overlay", self.layer_root(layer))
