"""One loop over layers that workers read, whatever is done with each.

What reads layers goes through it: it gives out the tasks in the order that the
driver reads best, tells of the progress, and decides which errors end a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from migrator.drivers import Driver
from migrator.errors import DriverError, MigratorError, PermissionDenied, StoreError
from migrator.progress import Progress
from migrator.system.worker_pool import Finished, Pool, Progressed, Started, by
from migrator.system.worker_process import Job


class LayerWork(Protocol):
    """What a task has to tell: of which layer it is, and about how much work.

    `name` is what progress calls the layer, `layer_id` and `parent_id` are the
    driver's names of it and of the one whose files are read with it; `size` is
    in bytes.
    """

    @property
    def name(self) -> str: ...

    @property
    def layer_id(self) -> str: ...

    @property
    def parent_id(self) -> str | None: ...

    @property
    def size(self) -> int: ...


Task = TypeVar("Task", bound=LayerWork)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Done(Generic[Task, Result]):
    """A task that is finished: its job's `result`, or the `error` that is this layer's own.

    `worker`, a number, took it on `begun` seconds after the loop had begun, and
    has told of `amount` bytes of progress.
    """

    task: Task
    worker: int
    begun: float
    amount: int
    result: Result | None
    error: MigratorError | None


def error_of(done: Done[Task, Result]) -> str | None:
    """What is wrong with the layer, in words: the error."""
    return None if done.error is None else str(done.error)


def each_layer(
    what: str,
    tasks: Sequence[Task],
    job: Job[Task, Result],
    driver: Driver,
    workers: int,
    progress: Progress,
    fault: Callable[[Done[Task, Result]], str | None] = error_of,
) -> Iterator[Done[Task, Result]]:
    """Do `job` for all tasks in `workers` processes at most, and give each when it is finished.

    Without `workers` all is done in this process. They begin in the order of the
    list, unless the driver, which must be opened, reads them better in another
    one. `what` is what `progress` calls the work, `fault` tells what to say of
    a layer that is finished. Raises what ends the run: see `ends_run`.
    """
    parents = {task.layer_id: task.parent_id for task in tasks}
    schedule = driver.schedule(parents, min(workers, len(tasks)))
    with progress, Pool(job, schedule.workers) as pool:
        progress.begin(what, len(tasks), sum(task.size for task in tasks))
        start = time.perf_counter()
        begun: dict[int, float] = {}
        amounts: dict[int, int] = {}
        for event in pool.run(tasks, by(lambda task: task.layer_id, schedule.choose)):
            worker = event.worker
            match event:
                case Started(task=task):
                    begun[worker], amounts[worker] = time.perf_counter() - start, 0
                    progress.started(task.name)
                case Progressed(amount=amount):
                    amounts[worker] += amount
                    progress.advanced(amount)
                case Finished(task=task, result=result, error=error):
                    if error is not None and ends_run(error):
                        raise error
                    done = Done(task, worker, begun[worker], amounts[worker], result, error)
                    yield done
                    progress.done(task.name, fault(done))


def ends_run(error: MigratorError) -> bool:
    """Whether it tells nothing of the layer that was read, but would be so with any other.

    That is what we cannot write ourselves, what this machine lacks, and what
    only root may read. All other errors are the layer's own.
    """
    return isinstance(error, (StoreError, DriverError, PermissionDenied))
