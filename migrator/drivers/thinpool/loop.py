"""Loop devices by ioctl (Linux include/uapi/linux/loop.h)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from pathlib import Path

from migrator.drivers.thinpool.image import PREFIX
from migrator.system import disk

CONTROL = Path("/dev/loop-control")

_SET_FD, _CLR_FD, _SET_STATUS64, _SET_CAPACITY = 0x4C00, 0x4C01, 0x4C04, 0x4C07
_CONFIGURE, _GET_FREE = 0x4C0A, 0x4C82
# <linux/fs.h>
_BLKFLSBUF = 0x1261
_READ_ONLY, _AUTOCLEAR = 1, 4

# struct loop_info64: device, inode, rdevice, offset, size limit; number, encryption
# (type, size of the key), flags; names of the file and the encryption, key; two spare.
_INFO = struct.Struct("=5Q4I64s64s32s2Q")
# struct loop_config: file, block size (0: 512), that, eight spare.
_CONFIG = struct.Struct(f"=2I{_INFO.size}s8Q")

# Another process may take the free device first.
_TRIES = 256

_SYS_BLOCK = Path("/sys/block")


class LoopDevice:
    """A block device that shows a file: `path`, until it is closed and nothing has it mounted.

    No kill leaves it behind.
    """

    def __init__(self, image: int, *, read_only: bool) -> None:
        """Show the file open as `image`. Raises StoreError.

        What is in it should be on the disk, or nothing be in it yet: Linux waits
        for that when a file is attached.
        """
        with disk.operation("loop", CONTROL):
            self.path, self._fd = _attach(image, read_only)

    def refresh(self) -> None:
        """Show what the file has become, while nothing is mounted; raises OSError."""
        fcntl.ioctl(self._fd, _SET_CAPACITY)
        # What the last one mounted has left in the device's cache.
        fcntl.ioctl(self._fd, _BLKFLSBUF)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def clear_leftovers(directory: Path) -> None:
    """Free what a killed run has left of images in `directory`.

    That is nothing but an empty file if it was killed between making it and
    unlinking it, and on kernels before 5.8, which attach in two steps, a loop
    device if it was killed between these. Does nothing to a run that goes on.
    """
    with disk.operation("list", directory):
        for path in directory.glob(f"{PREFIX}*"):
            path.unlink(missing_ok=True)
    for loop in _SYS_BLOCK.glob("loop*/loop"):
        with contextlib.suppress(OSError):
            file = loop.joinpath("backing_file").read_text("utf-8", "surrogateescape").rstrip("\n")
            ours = file.startswith(f"{directory}/{PREFIX}") and file.endswith(" (deleted)")
            if ours and loop.joinpath("autoclear").read_text().strip() == "0":
                fd = os.open(f"/dev/{loop.parent.name}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(fd, _CLR_FD)
                finally:
                    os.close(fd)


def _attach(image: int, read_only: bool) -> tuple[Path, int]:
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            path = Path(f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}")
            fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
            try:
                _configure(fd, image, read_only)
            except OSError as error:
                os.close(fd)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return path, fd
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device is free")


def _configure(fd: int, image: int, read_only: bool) -> None:
    flags = _AUTOCLEAR | (_READ_ONLY if read_only else 0)
    name = PREFIX.encode()
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, name, b"", b"", 0, 0)
    try:
        fcntl.ioctl(fd, _CONFIGURE, _CONFIG.pack(image, 0, info, *bytes(8)))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTTY):
            raise
        fcntl.ioctl(fd, _SET_FD, image)
        try:
            fcntl.ioctl(fd, _SET_STATUS64, info)
        except OSError:
            fcntl.ioctl(fd, _CLR_FD)
            raise
