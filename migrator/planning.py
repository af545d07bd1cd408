"""What a migration would do: which layers to hash, what will not migrate, and why."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers import Driver
from migrator.errors import Problem, Subject
from migrator.files import inside, is_regular
from migrator.layer.identity import hex_part, is_sha256
from migrator.layer.task import LayerTask
from migrator.legacy.containers import LegacyContainer
from migrator.legacy.graph import Graph, LegacyImage
from migrator.legacy.repositories import Reference
from migrator.legacy.root import LegacyRoot, open_root
from migrator.state.directory import Phase, StateDirectory
from migrator.store.markers import TAGS, read_image_map
from migrator.store.overlay2 import MAX_CHAIN
from migrator.text import shown

# Docker <= 1.9 made no image of more than 127 layers; a chain far beyond that
# only costs time and memory, which grow with its square.
_MAX_DEPTH = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is known before the first byte of a layer is read.

    `images` are the legacy images that can be migrated, parents first in
    Docker's order; `migrated` those that an earlier migration did (v1 ID to
    image ID); `tasks` the layers to hash, largest first. `target` is the
    storage driver that the new store is for.
    """

    root: LegacyRoot
    target: str
    images: tuple[LegacyImage, ...]
    migrated: Mapping[str, str]
    tasks: tuple[LayerTask, ...]
    references: tuple[Reference, ...]
    containers: tuple[LegacyContainer, ...]
    problems: tuple[Problem, ...]
    done_before: bool

    @property
    def driver(self) -> Driver:
        """The storage driver of the layers."""
        return self.root.driver

    @property
    def converts(self) -> bool:
        """Whether the new store is for another driver, whose layers have to be built."""
        return self.target != self.root.driver_name

    @property
    def size(self) -> int:
        """Bytes to hash, as far as the store says."""
        return sum(task.size for task in self.tasks)

    @property
    def with_record(self) -> int:
        """How many of the layers to hash have a tar-split record."""
        return sum(task.record is not None for task in self.tasks)


def plan(
    data_root: Path | str,
    driver: str = "auto",
    *,
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
) -> Plan:
    """Look at the legacy data root `data_root` without changing anything.

    `driver` names the storage driver (`auto` finds it). Raises a
    `MigratorError` when there is no store that could be migrated.
    """
    return make_plan(open_root(Path(data_root), driver, storage_opts, work_dir))


def make_plan(root: LegacyRoot, target: str = "") -> Plan:
    """Read a legacy store's metadata. Raises a MigratorError only when nothing can go on.

    `target` names the storage driver that the new store is for, if not the old one's.
    A root without a legacy store, as Docker >= 1.10 makes it, has nothing to migrate.
    """
    target = target or root.driver_name
    if not root.has_store:
        return Plan(root, target, (), {}, (), (), (), (), done_before=True)
    graph = root.graph()
    problems = list(graph.problems)
    driver = root.driver
    migrated = _migrated(root, target)
    converts = target != root.driver_name
    images = _usable(driver, graph, MAX_CHAIN if converts else _MAX_DEPTH, problems)
    known = {image.v1_id for image in images}
    references, found = root.repositories()
    problems += found
    containers, found = root.containers()
    problems += found
    orphans: list[tuple[Subject, str, str]] = [
        *((Subject.TAG, each.shown, each.v1_id) for each in references),
        *((Subject.CONTAINER, each.shown, each.v1_id) for each in containers),
    ]
    problems += [
        Problem(subject, name, f"its image {shown(v1_id)} is not there")
        for subject, name, v1_id in orphans
        if v1_id not in graph.images
    ]
    problems += [
        Problem(subject, name, f"its image {v1_id} cannot be migrated")
        for subject, name, v1_id in orphans
        if v1_id in graph.images and v1_id not in known
    ]
    state = StateDirectory(root.path, target if converts else "")
    tasks = [_task(driver, state, image) for image in images if image.v1_id not in migrated]
    tasks.sort(key=lambda task: (-task.size, task.v1_id))
    return Plan(
        root=root,
        target=target,
        images=tuple(images),
        migrated=migrated,
        tasks=tuple(tasks),
        references=tuple(each for each in references if each.v1_id in known),
        containers=tuple(each for each in containers if each.v1_id in known),
        problems=tuple(problems),
        done_before=state.phase is Phase.PUBLISHED or _marked(root.path),
    )


def is_migrated(root: LegacyRoot) -> bool:
    """Whether a data root has no legacy store, or one that was migrated in place."""
    return (
        not root.has_store
        or StateDirectory(root.path).phase is Phase.PUBLISHED
        or _marked(root.path)
    )


def _marked(data_root: Path) -> bool:
    """Whether both markers say that a migration, ours or Docker's, was completed."""
    return read_image_map(data_root) is not None and os.path.lexists(data_root / TAGS)


def _migrated(root: LegacyRoot, target: str) -> dict[str, str]:
    """Images that the map of an earlier migration names, and that are there."""
    images = read_image_map(root.path) or {}
    if not images:
        return {}
    content = inside(root.path, f"image/{target}/imagedb/content/sha256/_").parent
    return {
        v1_id: image_id
        for v1_id, image_id in images.items()
        if is_sha256(image_id) and is_regular(content / hex_part(image_id))
    }


def _usable(driver: Driver, graph: Graph, most: int, problems: list[Problem]) -> list[LegacyImage]:
    """Images in Docker's order, without those whose layer, or an ancestor's, has no directory.

    `most` is how many layers an image may have.
    """
    usable: list[LegacyImage] = []
    lost: dict[str, str] = {}
    depths: dict[str | None, int] = {None: 0}
    for v1_id in graph.order():
        image = graph.images[v1_id]
        if image.parent in lost:
            lost[v1_id] = lost[image.parent]
            reason = f"it builds on {lost[v1_id]}, whose layer cannot be used"
            problems.append(Problem(Subject.IMAGE, v1_id, reason))
            continue
        depths[v1_id] = depths[image.parent] + 1
        if depths[v1_id] > most:
            reason = f"it has more than {most} layers, and the new store takes no more"
        elif not driver.layer_exists(v1_id):
            reason = f"its directory {driver.shown(v1_id)} is missing"
        else:
            usable.append(image)
            continue
        lost[v1_id] = v1_id
        problems.append(Problem(Subject.LAYER, v1_id, reason))
    return usable


def _task(driver: Driver, state: StateDirectory, image: LegacyImage) -> LayerTask:
    return LayerTask(
        v1_id=image.v1_id,
        parent=image.parent,
        driver=driver,
        record=image.record,
        new_record=state.records / f"{image.v1_id}.json.gz",
        size=image.layersize or 0,
    )
