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
import time
from collections.abc import Iterator
from pathlib import Path

from migrator.errors import DataRootError
from migrator.system import disk
from migrator.text import shown

# Seconds that the last process of a killed run may take to end.
_DYING = 2.0

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
                _take(fd)
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


def _take(fd: int) -> None:
    """Lock `fd`; raises BlockingIOError when a living process has the lock.

    Where a run was killed, a worker that it had just forked may not have let go yet.
    """
    deadline = time.monotonic() + _DYING
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline or not all(map(_is_dead, _holders(fd))):
                raise
        time.sleep(_DYING / 100)


def _holder(directory: int) -> str:
    """Process and command line of the holder."""
    for pid in _holders(directory):
        with contextlib.suppress(OSError):
            if _has_open(pid, directory):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip()
                return f"process {pid} ({shown(os.fsdecode(command))})"
    return "a process that cannot be seen from here (in another container?)"


def _holders(directory: int) -> list[str]:
    """The processes that took a lock on a file of this inode, from /proc/locks (see proc(5))."""
    inode = str(os.fstat(directory).st_ino)
    pids = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            # The device there is not that of stat(2) on every file system.
            _, kind, _, _, pid, file, *_ = line.split()
            if kind == "FLOCK" and file.rpartition(":")[2] == inode:
                pids.append(pid)
    return pids


def _is_dead(pid: str) -> bool:
    """Whether a process has ended; one of another container, which is 0 here, has not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return pid not in ("0", "-1")
    return state in "ZX"


def _has_open(pid: str, directory: int) -> bool:
    with contextlib.suppress(OSError):
        return any(
            os.path.samestat(link.stat(), os.fstat(directory))
            for link in Path(f"/proc/{pid}/fd").iterdir()
            if link.exists()
        )
    return False
