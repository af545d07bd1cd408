"""Whether the disk has room for an export."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from migrator.errors import StoreError
from migrator.export.compression import Algorithm, Compression
from migrator.export.layers import Layer
from migrator.system import disk
from migrator.text import quantity

# Layers of distributions and programs became a third to a half.
_PACKED = 3

# Bytes of tar headers and metadata for each layer, about.
_PER_LAYER = 16 << 10


def check_space(
    directory: Path, layers: Sequence[Layer], compression: Compression, *, kept: bool, workers: int
) -> None:
    """Raise StoreError when what the layers become does not fit where `directory` is.

    Of compressed layers nobody knows that before: refused is what can hardly
    fit. Unless `kept`, as many layers are there at a time as there are workers,
    and one that is being taken away.
    """
    sizes = sorted((layer.size for layer in layers), reverse=True)
    if not kept:
        sizes = sizes[: workers + 1]
    need = sum(sizes)
    if compression.algorithm is not Algorithm.NONE:
        need //= _PACKED
    need += _PER_LAYER * len(sizes)
    with disk.operation("statfs", directory):
        status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if need > free:
        raise StoreError(
            f"the disk is too full for the export: about {quantity(need)} are needed,"
            f" {quantity(free)} are free",
            subject=str(directory),
            hint="nothing was written; free some space, or choose another place",
        )
