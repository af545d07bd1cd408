"""A thin pool's data and the devices in it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from migrator.drivers.thinpool.location import PoolPlace
from migrator.drivers.thinpool.mapping import Mapping, read_mappings
from migrator.drivers.thinpool.superblock import Superblock
from migrator.errors import DriverError, LayerError
from migrator.text import shown

# More than any file system's largest file; what is sparse may be large.
_LARGEST = 1 << 50


@dataclass(frozen=True, slots=True)
class Device:
    """A thin device that can be read; `blocks` are those it has, mapped or not."""

    number: int
    blocks: int
    mapping: Mapping


class ThinPool:
    """Open for reading, in this process and those forked from it.

    `data` is a descriptor, `data_size` and `block_size` are in bytes.
    """

    def __init__(self, place: PoolPlace, *, snapshot: bool) -> None:
        """Read all mappings, of the metadata snapshot if `snapshot`. Raises DriverError."""
        superblock = Superblock.read(place.metadata)
        if snapshot and not superblock.snapshot:
            raise DriverError(
                "no metadata snapshot is reserved in the thin pool",
                subject=shown(str(place.metadata)),
                hint="reserve one: dmsetup message POOL 0 reserve_metadata_snap",
            )
        self.block_size = superblock.block_size
        self._mappings = read_mappings(place.metadata, superblock.snapshot if snapshot else None)
        self._devices: dict[tuple[int, int], Device] = {}
        try:
            self.data = os.open(place.data, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DriverError(
                f"the thin pool's data cannot be read ({error.strerror})",
                subject=shown(str(place.data)),
            ) from None
        status = os.fstat(self.data)
        self.data_size = os.lseek(self.data, 0, os.SEEK_END)
        self.stamp: str | None = None
        """Changes whenever the data may have; None if nothing tells."""
        if stat.S_ISREG(status.st_mode):
            self.stamp = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
        else:
            # The kernel's pool writes past this cache of the device below it.
            os.posix_fadvise(self.data, 0, 0, os.POSIX_FADV_DONTNEED)
        # Only what is asked for: runs of other devices lie between those of one.
        os.posix_fadvise(self.data, 0, 0, os.POSIX_FADV_RANDOM)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.data)

    def device(self, number: int, size: int) -> Device:
        """The device with this number and size in bytes.

        Raises LayerError if it is not in the pool, or cannot be certain.
        """
        device = self._devices.get((number, size))
        if device is None:
            mapping = self._mappings.get(number)
            blocks = -(-size // self.block_size)
            fault = "is not in the thin pool" if mapping is None else self._fault(mapping, blocks)
            if fault is not None or mapping is None:
                raise LayerError(f"its thin device {number} {fault}")
            device = self._devices[number, size] = Device(number, blocks, mapping)
        return device

    def beginning(self, device: Device, length: int) -> bytes:
        """The first bytes of a device; empty where nothing is mapped or can be read."""
        for origin, block, _ in device.mapping:
            if origin:
                break
            try:
                return os.pread(self.data, length, block * self.block_size)
            except OSError:
                break
        return b""

    def _fault(self, mapping: Mapping, blocks: int) -> str | None:
        if mapping.fault is not None:
            return mapping.fault
        if not 0 < blocks <= _LARGEST // self.block_size or mapping.end > blocks:
            return f"is mapped as far as block {mapping.end}, its record says it has {blocks}"
        last = max((block + length for _, block, length in mapping), default=0)
        if last * self.block_size > self.data_size:
            return (
                f"has data at block {last - 1}, where the pool's data have ended:"
                f" they have {self.data_size} bytes"
            )
        overlap = mapping.first_overlap()
        if overlap is not None:
            return f"has data block {overlap} in two places"
        return None
