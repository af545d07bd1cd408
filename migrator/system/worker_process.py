"""A worker: a forked process that does one task after another, and the parent's end of it.

Forked, it starts in milliseconds and shares the parent's memory: a job is
not sent, and may be a closure over whatever the parent has open.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any, Protocol, TypeVar

from migrator.errors import LayerError, MigratorError, WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")
TaskIn = TypeVar("TaskIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

_libc = ctypes.CDLL(None)
# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Job(Protocol[TaskIn, ResultOut]):
    """What a worker does with a task; it calls its second argument with amounts of work done."""

    def __call__(self, task: TaskIn, progress: Callable[[int], None], /) -> ResultOut: ...


class Attempt:
    """The progress of one way to do a task, taken back if that turns out to be none."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._reported = 0

    def __call__(self, amount: int) -> None:
        self._reported += amount
        self._progress(amount)

    def take_back(self) -> None:
        """What was reported so far has come to nothing."""
        self._progress(-self._reported)
        self._reported = 0


class Worker:
    """One process and the parent's end of the pipe to it."""

    connection: Connection[Any, Any]

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: ForkProcess | None = None
        self.task: tuple[Any, int] | None = None
        self.last: Any = None
        self.done = 0

    def start(
        self, context: ForkContext, job: Job[Any, Any], others: list[Connection[Any, Any]]
    ) -> None:
        self.connection, theirs = context.Pipe()
        process = context.Process(
            target=_work,
            args=(job, theirs, [self.connection, *others], os.getpid()),
            name=f"migrator-worker-{self.number}",
            daemon=True,
        )
        # A worker must not take its parent's way out before it has its own.
        with _signals_blocked():
            try:
                process.start()
            except OSError as error:
                raise MigratorError(f"cannot start a worker process ({error.strerror})") from None
            self.process = process
        theirs.close()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.bury()

    def bury(self) -> str:
        """Wait for the process, forget it, and say how it ended."""
        assert self.process is not None
        self.process.join()
        code = self.process.exitcode or 0
        self.connection.close()
        self.process.close()
        self.process = None
        self.task = self.last = None
        if code < 0:
            return f"was killed ({_signal_name(-code)})"
        return f"ended with status {code}"


def _work(
    job: Job[Any, Any], connection: Connection[Any, Any], inherited: list[Any], parent: int
) -> None:
    """A worker's life: take a task, do it, answer; until the parent is gone."""
    # Whatever the worker is doing, the kernel ends it when its parent ends.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    # Interrupts are the parent's business; it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    # Left open here, the parent's ends would keep orphans from noticing its death.
    for other in inherited:
        other.close()
    # The jobs make no reference cycles, and scanning for them costs some percent.
    gc.disable()

    def progress(amount: int) -> None:
        connection.send(("progress", amount))

    try:
        while True:
            connection.send(("done", outcome(job, connection.recv(), progress)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)


def outcome(
    job: Job[Task, Result], task: Task, progress: Callable[[int], None]
) -> tuple[Result | None, MigratorError | None]:
    """The result of a task, or what went wrong with it."""
    try:
        return job(task, progress), None
    except MigratorError as error:
        return None, error
    except MemoryError:
        return None, WorkerError("not enough memory")
    except (BrokenPipeError, ConnectionResetError):
        raise
    except OSError as error:
        return None, LayerError(error.strerror or str(error), subject=_name(error))


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _name(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, (str, bytes)) else ""
