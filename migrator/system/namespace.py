"""Mounts that nobody else sees, and that are gone when the process is, however it ends.

See mount_namespaces(7): what is mounted in a private namespace lives no longer
than the processes in it, so a kill leaves nothing mounted.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from migrator.errors import DriverError

_libc = ctypes.CDLL(None, use_errno=True)

# <linux/sched.h>
_CLONE_NEWNS = 0x00020000
# <linux/mount.h>
MS_RDONLY = 0x0001
MS_NOSUID = 0x0002
MS_NODEV = 0x0004
MS_NOEXEC = 0x0008
MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SLAVE = 0x80000
# <sys/mount.h>
_MNT_DETACH = 0x0002
_UMOUNT_NOFOLLOW = 0x0008


@contextlib.contextmanager
def private_mounts() -> Iterator[None]:
    """Be in a mount namespace of one's own during a `with`.

    This thread is, and every process that it starts or forks meanwhile; end
    those first. Mounts made inside are not seen outside and end with the last
    process inside; what is unmounted outside goes away inside, too. Raises
    DriverError, before anything has changed, where mounting is not permitted.
    """
    with contextlib.ExitStack() as stack:
        outside = os.open(
            f"/proc/self/task/{threading.get_native_id()}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC
        )
        stack.callback(os.close, outside)
        # Entering a mount namespace leads to its root directory.
        directory = os.open(".", os.O_PATH | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        try:
            _check(_libc.unshare(_CLONE_NEWNS))
        except OSError as error:
            raise _refused(error) from None
        stack.callback(os.fchdir, directory)
        stack.callback(lambda: _check(_libc.setns(outside, _CLONE_NEWNS)))
        try:
            # Slaves, not private: a mount kept alive in here would block its device outside.
            _mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None)
        except OSError as error:
            raise _refused(error) from None
        yield


def mount(source: str | Path, target: Path, fs_type: str, flags: int = 0, data: str = "") -> None:
    """mount(2); `flags` are `MS_...`, `data` the file system's own options. Raises OSError."""
    try:
        _mount(os.fsencode(source), os.fsencode(target), fs_type.encode(), flags, data.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None


def unmount(target: Path, *, detach: bool = False) -> None:
    """umount2(2), with `detach` even if it is in use; raises OSError."""
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if detach else 0)
    try:
        _check(_libc.umount2(os.fsencode(target), flags))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None


def _mount(
    source: bytes, target: bytes, fs_type: bytes | None, flags: int, data: bytes | None
) -> None:
    _check(_libc.mount(source, target, fs_type, ctypes.c_ulong(flags), data))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _refused(error: OSError) -> DriverError:
    hint = "run it as root, in a container with --privileged (it takes CAP_SYS_ADMIN)"
    if error.errno not in (errno.EPERM, errno.EACCES):
        hint = ""
    return DriverError(f"layers cannot be mounted here ({error.strerror})", hint=hint)
