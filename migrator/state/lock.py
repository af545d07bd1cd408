"""One command at a time on a data root.

The lock is the kernel's (flock) on the data root's directory itself: nothing
has to be created for it, and it ends with the process that holds it, however
that ends; worker processes let go of what they inherit of it. Who holds it
stands in /proc/locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from migrator import disk
from migrator.errors import DataRootError
from migrator.text import shown

_held: set[int] = set()


def _let_go() -> None:
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def exclusive(data_root: Path) -> Iterator[None]:
    """Hold the data root's lock. Raises DataRootError, saying who has it, when it is taken."""
    with disk.operation("open", data_root):
        fd = os.open(data_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _held.add(fd)
    try:
        with disk.operation("lock", data_root):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataRootError(
                    f"another migrator is at work here: {_holder(fd)}",
                    subject=str(data_root),
                    hint="wait until it has ended, or stop it",
                ) from None
        yield
    finally:
        # Not held in a fork of this process, which ends up here as well.
        if fd in _held:
            _held.remove(fd)
            os.close(fd)


def _holder(directory: int) -> str:
    """Process and command line of the holder, from /proc/locks (see proc(5))."""
    inode = str(os.fstat(directory).st_ino)
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            # The device there is not that of stat(2) on every file system.
            _, kind, _, _, pid, file, *_ = line.split()
            if kind == "FLOCK" and file.rpartition(":")[2] == inode and _has_open(pid, directory):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip()
                return f"process {pid} ({shown(os.fsdecode(command))})"
    return "a process that cannot be seen from here (in another container?)"


def _has_open(pid: str, directory: int) -> bool:
    with contextlib.suppress(OSError):
        return any(
            os.path.samestat(link.stat(), os.fstat(directory))
            for link in Path(f"/proc/{pid}/fd").iterdir()
            if link.exists()
        )
    return False
