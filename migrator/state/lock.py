"""One command at a time on a data root.

The lock is the kernel's (flock) on the data root's directory itself: nothing
has to be created for it, and it ends with the process that holds it, however
that ends. Who holds it stands in /proc/locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from migrator.errors import DataRootError


@contextlib.contextmanager
def exclusive(data_root: Path) -> Iterator[None]:
    """Hold the data root's lock. Raises DataRootError, saying who has it, when it is taken."""
    fd = os.open(data_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataRootError(
                f"another migrator is at work here: {_holder(os.fstat(fd))}",
                subject=str(data_root),
                hint="wait until it has ended, or stop it",
            ) from None
        yield
    finally:
        os.close(fd)


def _holder(status: os.stat_result) -> str:
    """Process and command line of the holder, from /proc/locks (see proc(5))."""
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == device and int(fields[4]) > 0:
                command = Path(f"/proc/{fields[4]}/cmdline").read_bytes().split(b"\0")
                return f"process {fields[4]} ({os.fsdecode(b' '.join(command)).strip()})"
    return "a process that cannot be seen from here (in another container?)"
