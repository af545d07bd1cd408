"""The vfs driver: a full copy a layer (Docker 1.9 daemon/graphdriver/vfs)."""

from __future__ import annotations

from dataclasses import replace

from migrator.drivers.base import Driver
from migrator.tree.ownfiles import OwnFiles


class Vfs(Driver):
    """`vfs/dir/<id>`; hosts with another driver once kept volumes there."""

    name = "vfs"
    holder = files = "vfs/dir/{}"

    def writable_files(self, layer: str, parent: str | None) -> OwnFiles:
        # A copy went through a tar (Docker 1.9 graphdriver/vfs), which has seconds: without
        # this, all that an init layer has would seem to be changed by the container.
        return replace(super().writable_files(layer, parent), nanoseconds=False)
