"""Hashing all layers of a plan in worker processes."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path

from migrator.errors import MigratorError, PermissionDenied, StoreError
from migrator.layer.task import HashedLayer, hash_layer
from migrator.migration.plan import Plan
from migrator.migration.space import Space
from migrator.progress import Progress
from migrator.state.directory import StateDirectory
from migrator.state.journal import Journal
from migrator.system import disk
from migrator.system.worker_pool import Finished, Pool, Progressed, Started, by


@dataclass(slots=True)
class Hashed:
    """Layers by v1 ID: the hashed ones, their records and workers, and those that failed.

    `begun` is when a worker took on a layer, in seconds since the first one did.
    """

    layers: dict[str, HashedLayer] = field(default_factory=dict)
    records: dict[str, Path] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    failed: dict[str, MigratorError] = field(default_factory=dict)


def hash_layers(plan: Plan, state: StateDirectory, workers: int, progress: Progress) -> Hashed:
    """Hash the layers of `plan`, each in one of `workers` processes.

    The largest come first, unless the driver reads them better in another order.

    What the journal in `state` knows and is still true is kept; what is hashed
    goes into it. No `workers`: all in this process. A layer that cannot be
    hashed is one of `failed`; raises StoreError when the disk is full, or a
    record or the journal cannot be written.
    """
    space = Space(plan)
    space.check()
    if not state.records.is_dir():
        disk.make_directory(state.records)
    hashed = Hashed()
    driver = plan.driver
    parents = {task.v1_id: task.parent for task in plan.tasks}
    most = min(workers, len(plan.tasks))
    with (
        driver.opened(),
        Journal(state.journal) as journal,
        progress,
        Pool(hash_layer, (schedule := driver.schedule(parents, most)).workers) as pool,
    ):
        known = journal.layers()
        tasks = [dataclasses.replace(task, known=known.get(task.v1_id)) for task in plan.tasks]
        progress.begin("hashing", len(tasks), plan.size)
        start = time.perf_counter()
        for event in pool.run(tasks, by(lambda task: task.v1_id, schedule.choose)):
            v1_id = event.task.v1_id
            match event:
                case Started():
                    hashed.begun[v1_id] = time.perf_counter() - start
                    progress.started(v1_id)
                case Progressed(amount=amount):
                    progress.advanced(amount)
                case Finished(worker=worker, result=result, error=error):
                    if result is not None:
                        hashed.layers[v1_id] = result
                        hashed.records[v1_id] = event.task.record_of(result)
                        if not result.kept:
                            journal.add(result)
                        hashed.workers[v1_id] = worker
                    elif isinstance(error, (StoreError, PermissionDenied)):
                        raise error
                    elif error is not None:
                        hashed.failed[v1_id] = error
                    space.hashed(v1_id)
                    space.check()
                    progress.done(v1_id, str(error) if error is not None else None)
    return hashed
