"""Hashing all layers of a plan in worker processes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migrator.errors import MigratorError, Problem, Subject
from migrator.layer.digest import HashedLayer
from migrator.layer.task import hash_layer
from migrator.layer.worker_loop import each_layer
from migrator.migration.plan import Plan
from migrator.migration.space import Space
from migrator.progress import Progress
from migrator.state.directory import StateDirectory
from migrator.state.journal import Journal
from migrator.system import disk


@dataclass(slots=True)
class Hashed:
    """Layers by v1 ID: the hashed ones, their records and workers, and those that failed.

    `begun` is when a worker took on a layer, in seconds since hashing began.
    """

    layers: dict[str, HashedLayer] = field(default_factory=dict)
    records: dict[str, Path] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    failed: dict[str, MigratorError] = field(default_factory=dict)


def hash_layers(plan: Plan, state: StateDirectory, workers: int, progress: Progress) -> Hashed:
    """Hash the layers of `plan`, each in one of `workers` processes.

    The largest come first, unless the driver reads them better in another order.
    It must be opened.

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
    job = functools.partial(hash_layer, plan.driver)
    with Journal(state.journal) as journal:
        known = journal.layers()
        tasks = [dataclasses.replace(task, known=known.get(task.v1_id)) for task in plan.tasks]
        for done in each_layer("hashing", tasks, job, plan.driver, workers, progress):
            v1_id = done.task.v1_id
            hashed.begun[v1_id], hashed.workers[v1_id] = done.begun, done.worker
            if done.result is not None:
                hashed.layers[v1_id] = done.result
                hashed.records[v1_id] = done.task.record_of(done.result)
                if not done.result.kept:
                    journal.add(done.result)
            elif done.error is not None:
                hashed.failed[v1_id] = done.error
            space.hashed(v1_id)
            space.check()
    return hashed


def record_faults(layers: Mapping[str, HashedLayer]) -> list[Problem]:
    """News for the owner: layers whose tar-split record no longer fits their files."""
    return [
        Problem(
            Subject.LAYER,
            v1_id,
            f"its tar-split record was of no use ({layer.fault}); its diff was made anew,"
            " so its diffID may not be the one that registries know",
            fatal=False,
        )
        for v1_id, layer in sorted(layers.items())
        if layer.fault is not None
    ]
