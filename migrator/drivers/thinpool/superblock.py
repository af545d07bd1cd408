"""The first block of a thin pool's metadata (Linux drivers/md/dm-thin-metadata.c).

Little endian: checksum, flags (u32), block number (u64), UUID (16 bytes), magic
(u64), version, time (u32), transaction, block of the metadata snapshot (u64),
roots of two space maps (128 bytes each) and of two trees (u64), and the size
of a data block in sectors of 512 bytes (u32).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import DriverError
from migrator.text import shown

_HEAD = struct.Struct("<IIQ16sQIIQQ128s128sQQI")
_MAGIC = 27022010

_SECTOR = 512
# What the kernel takes: 64 KiB to 1 GiB, in steps of 64 KiB.
_LEAST, _MOST = 64 << 10, 1 << 30


@dataclass(frozen=True, slots=True)
class Superblock:
    """Bytes a data block has, and where in the metadata its snapshot is, 0 without one."""

    block_size: int
    snapshot: int

    @classmethod
    def read(cls, path: Path) -> Superblock:
        """Raises DriverError if `path` cannot be read or holds no thin pool's metadata."""
        try:
            with open(path, "rb", buffering=0) as file:
                head = file.read(_HEAD.size)
        except OSError as error:
            raise DriverError(
                f"the thin pool's metadata cannot be read ({error.strerror})",
                subject=shown(str(path)),
            ) from None
        if len(head) < _HEAD.size or (fields := _HEAD.unpack(head))[4] != _MAGIC:
            raise DriverError(
                "holds no thin pool's metadata",
                subject=shown(str(path)),
                hint="see that data and metadata are not confused with each other or another pool",
            )
        block_size = fields[13] * _SECTOR
        if not _LEAST <= block_size <= _MOST or block_size % _LEAST:
            raise DriverError(
                f"says that the thin pool's blocks have {block_size} bytes, which none can have",
                subject=shown(str(path)),
                hint="the metadata is damaged; thin_repair may help, on a copy",
            )
        return cls(block_size, fields[8])
