"""A pool of workers: one task each at a time, in the order of the list or another.

One of our own, because the standard ones hide what is needed here: which
worker died over which task (it is tried once more, then it is an error of
that task), progress from within a task, and stopping at once.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from migrator.errors import MigratorError, WorkerError
from migrator.system.worker_process import Job, Worker, outcome

Task = TypeVar("Task")
Result = TypeVar("Result")
TaskIn = TypeVar("TaskIn", contravariant=True)

# A task whose worker died is given to another one this often.
_RETRIES = 1


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
        self._workers = [Worker(number) for number in range(workers)]

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
                        error = WorkerError(f"its worker process {cause}, twice")
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
        worker: Worker,
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
            result, error = outcome(self._job, task, amounts.append)
            yield Progressed(task, 0, sum(amounts))
            yield Finished(task, 0, result, error)

    def _hand_out(self, worker: Worker, task: Task, attempts: int) -> None:
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


def _taken(waiting: deque[Task], index: int) -> Task:
    """The task with this index, which is then no longer among those that wait."""
    task = waiting[index]
    del waiting[index]
    return task
