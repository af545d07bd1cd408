"""The thin devices that a process has mounted: few, and each made of the one before."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from pathlib import Path

from migrator.drivers.thinpool.image import Image
from migrator.drivers.thinpool.loop import LoopDevice
from migrator.drivers.thinpool.pool import Device, ThinPool
from migrator.errors import LayerError, StoreError
from migrator.system import disk
from migrator.system.namespace import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, mount, unmount
from migrator.text import quantity, shown

_FLAGS = MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC

# By type, mount options: a damaged ext4 may ask for a panic; copies of an xfs share their UUID.
_OPTIONS = {"ext4": "errors=remount-ro", "xfs": "nouuid"}

HEAD = 2048
"""Bytes of a device that tell its file system."""


def file_system_of(head: bytes) -> str | None:
    """The type of the file system that begins so: `ext4` (ext2 and ext3, too) or `xfs`."""
    if head[:4] == b"XFSB":
        return "xfs"
    # The magic number in ext4's superblock, which begins at 1024 (Linux fs/ext4/ext4.h).
    if head[1080:1082] == b"\x53\xef":
        return "ext4"
    return None


@contextlib.contextmanager
def naming(place: Path) -> Iterator[None]:
    """Say in a LayerError which layer it is about: the one that is mounted at `place`."""
    try:
        yield
    except LayerError as error:
        subject = str(place / "rootfs")
        raise LayerError(error.message, subject=subject, hint=error.hint) from None


@dataclass(slots=True)
class _Slot:
    """An image with its loop device, and the name under which it is mounted, if it is.

    `replayed` is mounted in its place if a journal had to be replayed.
    """

    image: Image
    device: LoopDevice
    name: str | None = None
    replayed: Image | None = None

    def close(self) -> None:
        """Give up the images, mounted or not."""
        self.device.close()
        self.image.close()
        if self.replayed is not None:
            self.replayed.close()


@dataclass(slots=True)
class Reader:
    """Mounts devices of `pool` in `directory`, by name, with images in `work_dir`.

    For use in a private mount namespace. There are as many images as devices
    were wanted at once, at most; they are kept, and changed to what is wanted next.
    `roomy`: each may take as much room as all devices that it held would together.
    """

    pool: ThinPool
    directory: Path
    work_dir: Path
    roomy: bool
    _slots: list[_Slot] = field(default_factory=list)

    def prepare(self, wanted: Dict[str, Device]) -> None:
        """Have these devices mounted, and no others; one that is already stays.

        A device without `rootfs` gets an empty directory of that name. Raises
        LayerError, StoreError when there is no room for an image.
        """
        for slot in [*self._slots]:
            if slot.name is not None and slot.name not in wanted:
                self._unmount(slot)
        mounted = {slot.name for slot in self._slots}
        waiting = {name: device for name, device in wanted.items() if name not in mounted}
        while waiting:
            free = [slot for slot in self._slots if slot.name is None]
            if not free:
                self._slots.append(self._new_slot())
                continue
            # The pair with the least to copy.
            pairs = itertools.product(free, waiting)
            slot, name = min(pairs, key=lambda pair: pair[0].image.distance(waiting[pair[1]]))
            others = [other.image for other in self._slots if other is not slot]
            with naming(self.directory / name):
                slot.image.become(waiting[name], self.pool, others)
                self._mount(slot, name)
            del waiting[name]

    def close(self) -> None:
        """Unmount all and give up the images."""
        try:
            for slot in [*self._slots]:
                if slot.name is not None:
                    self._unmount(slot)
        finally:
            for slot in self._slots:
                slot.close()
            self._slots.clear()

    def _new_slot(self) -> _Slot:
        image = Image(self.work_dir, self.pool.block_size, roomy=self.roomy)
        try:
            return _Slot(image, LoopDevice(image.fd, read_only=True))
        except BaseException:
            image.close()
            raise

    def _mount(self, slot: _Slot, name: str) -> None:
        target = self.directory / name
        fs_type = file_system_of(os.pread(slot.image.fd, HEAD, 0))
        if fs_type is None:
            raise LayerError("its thin device holds neither ext4 nor xfs")
        target.mkdir(exist_ok=True)
        with disk.operation("mount", target):
            try:
                slot.device.refresh()
                try:
                    mount(slot.device.path, target, fs_type, _FLAGS, _OPTIONS[fs_type])
                except OSError as error:
                    # So it is said that a journal would have to be replayed.
                    if error.errno != errno.EROFS:
                        raise
                    self._mount_replayed(slot, target, fs_type)
            except OSError as error:
                raise LayerError(
                    f"its {fs_type} file system cannot be mounted ({error.strerror})",
                    hint="the kernel's log (dmesg) may tell why",
                ) from None
        slot.name = name
        rootfs = target / "rootfs"
        if not os.path.lexists(rootfs):
            self._unmount(slot)
            rootfs.mkdir(exist_ok=True)

    def _mount_replayed(self, slot: _Slot, target: Path, fs_type: str) -> None:
        """Mount a copy, with its journal replayed: nothing else can be made of it afterwards."""
        need = slot.image.mapping.blocks * self.pool.block_size
        status = os.statvfs(self.work_dir)
        if need > status.f_bavail * status.f_frsize:
            raise StoreError(
                f"no room for a copy of layer {target.name}, on which its journal has to be"
                f" replayed: {quantity(need)} are needed",
                subject=shown(str(self.work_dir)),
                hint="name a directory with more room: --work-dir",
            )
        copy = slot.image.copy()
        try:
            device = LoopDevice(copy.fd, read_only=False)
            try:
                mount(device.path, target, fs_type, _FLAGS, _OPTIONS[fs_type])
            finally:
                device.close()
        except BaseException:
            copy.close()
            raise
        slot.replayed = copy

    def _unmount(self, slot: _Slot) -> None:
        assert slot.name is not None
        target = self.directory / slot.name
        slot.name = None
        with disk.operation("unmount", target):
            try:
                unmount(target)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                # Who still reads has to go on seeing what is there now.
                unmount(target, detach=True)
                self._slots.remove(slot)
                slot.close()
                return
        if slot.replayed is not None:
            slot.replayed.close()
            slot.replayed = None
