"""The btrfs driver: a subvolume a layer (Docker 1.9 daemon/graphdriver/btrfs)."""

from __future__ import annotations

from migrator.drivers.base import Driver


class Btrfs(Driver):
    """`btrfs/subvolumes/<id>`, a snapshot of the parent's."""

    name = "btrfs"
    holder = files = "btrfs/subvolumes/{}"
