"""Building the directories of all layers in worker processes, the largest first."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from migrator.conversion.building import TreeResult, TreeTask, build_tree
from migrator.conversion.model import Layers
from migrator.conversion.names import Names
from migrator.conversion.space import TreeSpace
from migrator.conversion.tasks import Tasks
from migrator.errors import MigratorError, PermissionDenied, StoreError
from migrator.progress import Progress
from migrator.state.built import BuiltTree, BuiltTrees
from migrator.state.directory import StateDirectory
from migrator.state.staging import Staging
from migrator.store import overlay2
from migrator.system import disk
from migrator.system.files import Inside
from migrator.system.worker_pool import Finished, Pool, Progressed, Started, by
from migrator.tree.treefingerprint import fingerprint


@dataclass(slots=True)
class Converted:
    """What was built: the results, by the directory's name in `overlay2/`.

    `layers` has these names by chainID, `containers` mount-id and init-id by
    container. `failed` are chainIDs and containers of which nothing came.
    `begun` is in seconds since the first was begun, `workers` are numbers.
    """

    trees: dict[str, TreeResult] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    containers: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    failed: dict[str, MigratorError] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)


def convert(
    layers: Layers, names: Names, state: StateDirectory, workers: int, progress: Progress
) -> Converted:
    """Build the directories of `layers` below `state.trees`, in `workers` processes.

    What an earlier run built and is still true is kept; containers are always
    copied anew. A layer that cannot be read is one of `failed`, as are those
    above it; raises StoreError when the disk is full.
    """
    directory = state.trees / overlay2.NAME
    inside = Inside(state.path)
    for path in (state.trees, directory):
        if not inside.directory(str(path.relative_to(state.path))):
            disk.make_directory(path, 0o710)
    result = Converted()
    with layers.driver.opened(), BuiltTrees(state) as built, progress:
        made = Tasks(layers, names, directory)
        result.failed |= made.failed
        tasks = sorted(_with_known(made, built), key=lambda task: (-task.size, task.name))
        sources = {task.name: task.source for task in tasks}
        space = TreeSpace(state.path, tasks)
        space.check()
        parents = {task.layer: task.origins[0].parent for task in tasks}
        schedule = layers.driver.schedule(parents, min(workers, len(tasks)))
        with Pool(build_tree, schedule.workers) as pool:
            progress.begin("converting", len(tasks), sum(task.size for task in tasks))
            start = time.perf_counter()
            for event in pool.run(tasks, by(lambda task: task.layer, schedule.choose)):
                name = event.task.name
                match event:
                    case Started(worker=worker):
                        result.begun[name] = time.perf_counter() - start
                        result.workers[name] = worker
                        progress.started(name)
                    case Progressed(amount=amount):
                        progress.advanced(amount)
                    case Finished(result=tree, error=error):
                        if tree is not None:
                            result.trees[name] = tree
                            if not event.task.writable and not tree.kept:
                                built.add(BuiltTree(name, sources[name], tree.fingerprint))
                        elif isinstance(error, (StoreError, PermissionDenied)):
                            raise error
                        elif error is not None:
                            result.failed.setdefault(made.owners[name], error)
                        space.built(name)
                        space.check()
                        progress.done(name, str(error) if error is not None else None)
    result.layers = {k: v for k, v in made.layers.items() if k not in result.failed}
    result.containers = {k: v for k, v in made.containers.items() if k not in result.failed}
    return result


def _with_known(tasks: Tasks, built: BuiltTrees) -> Iterator[TreeTask]:
    for task in tasks:
        known = None if task.writable else built.get(task.name, task.source)
        yield task if known is None else dataclasses.replace(task, known=known.fingerprint)


def stage_trees(
    converted: Converted,
    used: Iterable[str],
    names: Names,
    state: StateDirectory,
    staging: Staging,
) -> None:
    """Stage the directories `used` and their short names; others that were built are removed."""
    wanted = set(used)
    directory = state.trees / overlay2.NAME
    links = directory / overlay2.LINKS
    with disk.operation("list", directory):
        found = sorted(name for name in os.listdir(directory) if name not in wanted)
    for name in found:
        disk.remove_layers(directory / name)
    disk.make_directory(links)
    for name in sorted(wanted):
        staging.tree(f"{overlay2.NAME}/{name}", converted.trees[name].fingerprint)
        link = links / names.link(name)
        disk.make_link(link, f"../{name}/diff")
        staging.tree(f"{overlay2.NAME}/{overlay2.LINKS}/{link.name}", fingerprint(link))
