"""Worker processes: one task each at a time, in the order of the list or another.

A small pool of our own, because the standard ones hide what is needed here:
which worker died over which task (it is tried once more, then it is an error
of that task), progress from within a task, and stopping at once. Workers are
forked: they start in milliseconds and share the parent's memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, ForkProcess
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from migrator.errors import LayerError, MigratorError

Task = TypeVar("Task")
Result = TypeVar("Result")
TaskIn = TypeVar("TaskIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

_libc = ctypes.CDLL(None)
# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# A task whose worker died is given to another one this often.
_RETRIES = 1


class Job(Protocol[TaskIn, ResultOut]):
    """What a worker does with a task; it calls its second argument with amounts of work done."""

    def __call__(self, task: TaskIn, progress: Callable[[int], None], /) -> ResultOut: ...


class Choose(Protocol[TaskIn]):
    """Which of the waiting tasks a worker does next, by its index.

    `last` is what the worker did before, if anything. None has it wait until
    another worker has finished.
    """

    def __call__(self, last: TaskIn | None, waiting: Sequence[TaskIn], /) -> int | None: ...


def first(last: object, waiting: Sequence[object], /) -> int | None:
    """Choose the tasks in the order given."""
    return 0


def by(key: Callable[[Task], str], choose: Choose[str]) -> Choose[Task]:
    """Choose among tasks as `choose` does among what `key` tells of them."""
    if choose is first:
        return first
    return lambda last, waiting: choose(
        None if last is None else key(last), [key(task) for task in waiting]
    )


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


@dataclass(frozen=True, slots=True)
class Started(Generic[Task]):
    """A worker (numbered from 0) took on a task."""

    task: Task
    worker: int


@dataclass(frozen=True, slots=True)
class Progressed(Generic[Task]):
    """A worker did some of its task; negative when a task's work so far was lost."""

    task: Task
    worker: int
    amount: int


@dataclass(frozen=True, slots=True)
class Finished(Generic[Task, Result]):
    """A task is done: either `result` or `error` is set."""

    task: Task
    worker: int
    result: Result | None
    error: MigratorError | None


Event = Started[Task] | Progressed[Task] | Finished[Task, Result]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How layers are read best: by so many workers at most, each choosing so among layer IDs."""

    workers: int
    choose: Choose[str] = first


class Pool(Generic[Task, Result]):
    """Runs `job` over tasks in `workers` processes; with none in this one, a task at a time.

    Use as a context manager: leaving it kills the workers that still run, so
    an exception in the parent (an interrupt, say) stops all work at once.
    """

    def __init__(self, job: Job[Task, Result], workers: int) -> None:
        self._job = job
        self._context = multiprocessing.get_context("fork")
        self._workers = [_Worker(number) for number in range(workers)]

    def __enter__(self) -> Pool[Task, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()

    def run(
        self, tasks: Iterable[Task], choose: Choose[Task] = first
    ) -> Iterator[Event[Task, Result]]:
        """Do all `tasks`, in the order in which `choose` picks them, and tell what happens."""
        # Of a list each task taken from the front would move all behind it.
        waiting = deque(tasks)
        if not self._workers:
            yield from self._run_here(waiting, choose)
            return
        again: deque[tuple[Task, int]] = deque()
        idle = True
        while True:
            # A worker may have been waiting for what another one has been asked about since.
            while idle:
                idle = False
                for worker in self._workers:
                    if worker.task is None and (
                        given := self._next(worker, waiting, again, choose)
                    ):
                        self._hand_out(worker, *given)
                        idle = True
                        yield Started(given[0], worker.number)
            busy = {
                worker.connection: (worker, *worker.task)
                for worker in self._workers
                if worker.task is not None
            }
            if not busy:
                return
            for connection in wait(list(busy)):
                worker, task, attempts = busy[connection]  # type: ignore[index]
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    idle = True
                    cause = worker.bury()
                    if attempts < _RETRIES:
                        again.append((task, attempts + 1))
                        yield Progressed(task, worker.number, -worker.done)
                    else:
                        error = LayerError(f"its worker process {cause}, twice")
                        yield Finished(task, worker.number, None, error)
                    continue
                if kind == "progress":
                    worker.done += value
                    yield Progressed(task, worker.number, value)
                    continue
                idle = True
                worker.task, worker.last = None, task
                yield Finished(task, worker.number, *value)

    def _next(
        self,
        worker: _Worker,
        waiting: deque[Task],
        again: deque[tuple[Task, int]],
        choose: Choose[Task],
    ) -> tuple[Task, int] | None:
        """A task for an idle worker and how often it was tried; None if it is to wait."""
        if again:
            return again.popleft()
        if not waiting:
            return None
        chosen = choose(worker.last, waiting)
        if chosen is None:
            if any(other.task is not None for other in self._workers):
                return None
            chosen = 0
        return _taken(waiting, chosen), 0

    def _run_here(
        self, waiting: deque[Task], choose: Choose[Task]
    ) -> Iterator[Event[Task, Result]]:
        last: Task | None = None
        while waiting:
            task = last = _taken(waiting, choose(last, waiting) or 0)
            yield Started(task, 0)
            amounts: list[int] = []
            result, error = _attempt(self._job, task, amounts.append)
            yield Progressed(task, 0, sum(amounts))
            yield Finished(task, 0, result, error)

    def _hand_out(self, worker: _Worker, task: Task, attempts: int) -> None:
        if worker.process is None:
            others = [w.connection for w in self._workers if w.process is not None]
            worker.start(self._context, self._job, others)
        worker.task = (task, attempts)
        worker.done = 0
        try:
            worker.connection.send(task)
        except OSError:
            # It died while idle; the wait for its answer finds that out.
            return


class _Worker:
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
            connection.send(("done", _attempt(job, connection.recv(), progress)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _taken(waiting: deque[Task], index: int) -> Task:
    """The task with this index, which is then no longer among those that wait."""
    task = waiting[index]
    del waiting[index]
    return task


def _attempt(
    job: Job[Task, Result], task: Task, progress: Callable[[int], None]
) -> tuple[Result | None, MigratorError | None]:
    """The result of a task, or what went wrong with it."""
    try:
        return job(task, progress), None
    except MigratorError as error:
        return None, error
    except MemoryError:
        return None, LayerError("not enough memory")
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
