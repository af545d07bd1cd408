"""The vfs driver: a full copy a layer (Docker 1.9 daemon/graphdriver/vfs)."""

from __future__ import annotations

from migrator.drivers.base import Driver


class Vfs(Driver):
    """`vfs/dir/<id>`; hosts with another driver once kept volumes there."""

    name = "vfs"
    holder = files = "vfs/dir/{}"
