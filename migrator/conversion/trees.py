"""Building the directories of all layers in worker processes, the largest first."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from migrator.conversion.building import Layers, TreeResult, TreeTask, build_tree, source_of
from migrator.conversion.names import Names
from migrator.conversion.space import TreeSpace
from migrator.conversion.tasks import Tasks
from migrator.errors import MigratorError
from migrator.layer.worker_loop import each_layer
from migrator.progress import Progress
from migrator.state.built import BuiltTree, BuiltTrees
from migrator.state.directory import StateDirectory
from migrator.state.staging import Staging
from migrator.store import overlay2
from migrator.system import disk
from migrator.system.files import Inside
from migrator.tree.fingerprint import fingerprint
from migrator.tree.removal import remove_layers


@dataclass(slots=True)
class Converted:
    """What was built: the results, by the directory's name in `overlay2/`.

    `layers` has these names by chainID, `containers` mount-id and init-id by
    container. `failed` are chainIDs and containers of which nothing came.
    """

    trees: dict[str, TreeResult] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    containers: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    failed: dict[str, MigratorError] = field(default_factory=dict)


def convert(
    layers: Layers, names: Names, state: StateDirectory, workers: int, progress: Progress
) -> Converted:
    """Build the directories of `layers` below `state.trees`, in `workers` processes.

    What an earlier run built and is still true is kept; containers are always
    copied anew. A layer that cannot be read is one of `failed`, as are those
    above it; raises StoreError when the disk is full. The driver must be opened.
    """
    directory = state.trees / overlay2.NAME
    inside = Inside(state.path)
    for path in (state.trees, directory):
        if not inside.directory(str(path.relative_to(state.path))):
            disk.make_directory(path, 0o710)
    result = Converted()
    driver = layers.driver
    job = functools.partial(build_tree, driver)
    with BuiltTrees(state) as built:
        made = Tasks(layers, names, directory)
        result.failed |= made.failed
        sources = {task.name: source_of(driver, task) for task in made}
        tasks = sorted(_with_known(made, sources, built), key=lambda task: (-task.size, task.name))
        space = TreeSpace(state.path, tasks)
        space.check()
        for done in each_layer("converting", tasks, job, driver, workers, progress):
            name, tree = done.task.name, done.result
            if tree is not None:
                result.trees[name] = tree
                if not done.task.writable and not tree.kept:
                    built.add(BuiltTree(name, sources[name], tree.fingerprint))
            elif done.error is not None:
                result.failed.setdefault(made.owners[name], done.error)
            space.built(name)
            space.check()
    result.layers = {k: v for k, v in made.layers.items() if k not in result.failed}
    result.containers = {k: v for k, v in made.containers.items() if k not in result.failed}
    return result


def _with_known(tasks: Tasks, sources: Mapping[str, str], built: BuiltTrees) -> Iterator[TreeTask]:
    for task in tasks:
        known = None if task.writable else built.get(task.name, sources[task.name])
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
        remove_layers(directory / name)
    disk.make_directory(links)
    for name in sorted(wanted):
        staging.tree(f"{overlay2.NAME}/{name}", converted.trees[name].fingerprint)
        link = links / names.link(name)
        disk.make_link(link, f"../{name}/diff")
        staging.tree(f"{overlay2.NAME}/{overlay2.LINKS}/{link.name}", fingerprint(link))
