"""Running a command in a child process, with something going wrong at a chosen point."""

from __future__ import annotations

import enum
import errno
import fcntl
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from migrator import cli
from migrator.layer import digest as layer_hashing
from migrator.layer import worker_loop
from migrator.system import disk
from migrator.system.worker_pool import Pool

# Operations for which a full disk is what goes wrong; the others need no space.
_TAKES_SPACE = frozenset(
    {"mkdir", "create", "write", "write done", "link", "rename", "fsync", "syncfs", "commit"}
    | {"build", "symlink", "mknod", "reflink", "append"}
    | {"create record", "write record", "end record"}
)

_CRASHED = 99


class Fault(enum.Enum):
    """What happens at the point.

    KILL ends the process and its workers. FULL makes that operation fail, and
    every later one that takes space. BROKEN makes that one operation fail.
    """

    KILL = "kill"
    FULL = "full disk"
    BROKEN = "I/O error"

    def concerns(self, operation: str) -> bool:
        """Whether it can happen at an operation of this name."""
        return self is not Fault.FULL or operation in _TAKES_SPACE


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (negative: the signal), all output, the points passed."""

    code: int
    output: str
    points: list[str]


def run(
    arguments: Sequence[str | Path],
    *,
    workers: int = 0,
    fault: Fault | None = None,
    point: int = 0,
    unreadable: int | None = None,
) -> Ended:
    """Run `migrator ARGUMENTS`; at the point with this number (from 0) `fault` happens.

    Without `workers` layers are hashed in the same process, so that points come
    in the same order every time. `unreadable`: which read of a layer's files
    fails.
    """
    count = multiprocessing.get_context("fork").RawValue("q", 0)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as trace:

        def hook(operation: str, path: Path) -> None:
            # The kernel's lock, because a worker may be killed while it has it.
            fcntl.lockf(trace, fcntl.LOCK_EX)
            number = count.value
            count.value += 1
            os.pwrite(trace.fileno(), f"{operation} {path}\n".encode(), _end(trace.fileno()))
            fcntl.lockf(trace, fcntl.LOCK_UN)
            if fault is Fault.KILL and number == point:
                os.killpg(0, signal.SIGKILL)
                signal.pause()
            if fault is Fault.BROKEN and number == point:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if fault is Fault.FULL and number >= point and operation in _TAKES_SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def child() -> int:
            os.setsid()
            sys.stdout = sys.stderr = os.fdopen(os.dup(output.fileno()), "w", buffering=1)
            disk.hook = hook
            if unreadable is not None:
                _fail_read(unreadable)
            options = ["--workers", str(workers)] if workers else []
            if arguments[0] not in ("migrate", "checksums") or "--undo" in arguments:
                options = []
            pool = Pool if workers else _pool_without_workers
            with mock.patch.object(worker_loop, "Pool", pool):
                return cli.run([*map(str, arguments), *options])

        code = in_child(child)
        output.seek(0)
        trace.seek(0)
        return Ended(code, output.read().decode(), trace.read().decode().splitlines())


def in_child(work: Callable[[], int]) -> int:
    """Do something in a forked process; returns its exit code, or minus the signal."""
    return ended(fork(work))


def fork(work: Callable[[], int]) -> int:
    """Begin something in a forked process, which exits with its result; returns the PID."""
    pid = os.fork()
    if not pid:
        code = _CRASHED
        try:
            code = work()
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    """Wait for a forked process; its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _end(fd: int) -> int:
    return os.lseek(fd, 0, os.SEEK_END)


def _pool_without_workers(job: object, workers: int) -> object:
    return Pool(job, 0)  # type: ignore[arg-type]


def _fail_read(number: int) -> None:
    reads, readv = itertools.count(), os.readv

    def failing(fd: int, buffers: Sequence[memoryview]) -> int:
        if next(reads) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return readv(fd, buffers)

    layer_hashing.os.readv = failing  # type: ignore[attr-defined]
