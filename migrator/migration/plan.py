"""What a migration would do: which layers to hash, what will not migrate, and why."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from migrator.drivers import Driver
from migrator.errors import FormatError, Problem, Subject
from migrator.layer.identity import is_sha256
from migrator.layer.task import LayerTask
from migrator.legacy.containers import LegacyContainer
from migrator.legacy.graph import LegacyImage
from migrator.legacy.linkgraph import Link
from migrator.legacy.repositories import Reference
from migrator.legacy.root import LegacyRoot
from migrator.migration.lineage import Lineage
from migrator.migration.links import plan_links
from migrator.state import left_out
from migrator.state.directory import Phase, StateDirectory
from migrator.state.traces import sign_of_use_in
from migrator.store.containerconfig import CONFIG
from migrator.store.layout import MOUNT_ID, Layout
from migrator.store.markers import is_migrated, read_image_map
from migrator.store.overlay2 import MAX_CHAIN
from migrator.store.references import read_names
from migrator.system.files import MAX_JSON, Inside, inside, is_regular, read_file

# Docker <= 1.9 made no image of more than 127 layers; a chain far beyond that
# only costs time and memory, which grow with its square.
_MAX_DEPTH = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is known before the first byte of a layer is read.

    `images` are the legacy images that can be migrated, parents first in
    Docker's order; `migrated` those that the new store has already (v1 ID to
    image ID), `before` all that its map ever had; `tasks` the layers of the
    others, largest first. `references` and `containers` are to be migrated,
    `containers_before` have been; `links` are to come into their host configs, by
    container. `target` is the storage driver that the new
    store is for, `marked` whether it says of itself that it is complete.
    `state` is where a run keeps what it does. The store is `untouched` if all of
    it comes from earlier migrations, and nothing shows that Docker has been here since.
    """

    root: LegacyRoot
    target: str
    state: StateDirectory
    images: tuple[LegacyImage, ...] = ()
    migrated: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    tasks: tuple[LayerTask, ...] = ()
    references: tuple[Reference, ...] = ()
    containers: tuple[LegacyContainer, ...] = ()
    containers_before: tuple[LegacyContainer, ...] = ()
    links: Mapping[str, Sequence[Link]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    marked: bool = True
    untouched: bool = False

    @property
    def nothing_new(self) -> bool:
        """Whether all has been migrated that can be, and that is known before layers are read."""
        return self.marked and not (self.tasks or self.references or self.containers)

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


def make_plan(root: LegacyRoot, target: str = "", carried: Container[str] = ()) -> Plan:
    """Read a legacy store's metadata. Raises a MigratorError only when nothing can go on.

    `target` names the storage driver that the new store is for, if not the old one's;
    `carried` are image IDs that come into it from elsewhere. A root without a legacy
    store, as Docker >= 1.10 makes it, has nothing to migrate.
    """
    target = target or root.driver_name
    converts = target != root.driver_name
    state = StateDirectory.next(root.path, target if converts else "")
    if not root.has_store:
        return Plan(root, target, state)
    graph, driver = root.graph(), root.driver
    before = read_image_map(root.path)
    migrated = _migrated(root, target, before or {}, carried)
    marked = is_migrated(root.path)
    lines = Lineage(driver, graph, MAX_CHAIN if converts else _MAX_DEPTH, migrated, before or {})
    all_references, bad_references = root.repositories()
    # Of images that were migrated before, their owner may have removed names since.
    references = [x for x in all_references if not (marked and x.v1_id in migrated)]
    containers, bad_containers = root.containers()
    before_ids = {each.id for each in containers if _is_done(root.path, target, each.id)}
    waiting = [each for each in containers if each.id not in before_ids]
    to_come = [each for each in waiting if lines.has(each.v1_id)]
    done = [each for each in containers if each.id in before_ids]
    links = plan_links(root, to_come, done)
    tasks = [_task(state, x) for x in lines.usable if x.v1_id not in migrated]
    tasks.sort(key=lambda task: (-task.size, task.v1_id))
    return Plan(
        root=root,
        target=target,
        state=state,
        images=tuple(lines.usable),
        migrated=migrated,
        before=before or {},
        tasks=tuple(tasks),
        references=tuple(each for each in references if lines.has(each.v1_id)),
        containers=tuple(to_come),
        containers_before=tuple(done),
        links=links.wanted,
        problems=(
            *(each for each in graph.problems if each.name not in migrated),
            *lines.problems,
            *bad_references,
            *bad_containers,
            *lines.orphans(Subject.TAG, [(each.shown, each.v1_id) for each in references]),
            *lines.orphans(Subject.CONTAINER, [(each.shown, each.v1_id) for each in waiting]),
            *links.problems,
            *left_out_before(
                state,
                target,
                {
                    x.shown: (x.key, migrated[x.v1_id])
                    for x in all_references
                    if x.v1_id in migrated
                },
            ),
        ),
        marked=marked,
        untouched=bool(tasks) and not converts and is_untouched(root.path),
    )


def _migrated(
    root: LegacyRoot, target: str, before: Mapping[str, str], carried: Container[str]
) -> dict[str, str]:
    """Images that the map of an earlier migration names, and that are there, or `carried`."""
    if not before:
        return {}
    configs = Inside(root.path)
    return {
        v1_id: image_id
        for v1_id, image_id in before.items()
        if is_sha256(image_id)
        and (image_id in carried or is_regular(configs.path(Layout(target).config(image_id))))
    }


def _is_done(data_root: Path, target: str, container: str) -> bool:
    """Whether a container has been migrated: Docker's config, and its layer in the new store.

    One that was moved to another storage driver since, or in a migration to that one,
    is there.
    """
    path = f"containers/{container}/{CONFIG}"
    try:
        config = read_file(inside(data_root, path), MAX_JSON)
        if config is None:
            return False
        driver = msgspec.json.decode(config, type=_Settings).driver
    except (FormatError, msgspec.DecodeError):
        # Docker's own, and damaged: not ours to replace.
        return True
    mount = f"{Layout(target).mount(container)}/{MOUNT_ID}"
    return driver not in ("", target) or is_regular(inside(data_root, mount))


class _Settings(msgspec.Struct):
    driver: str = msgspec.field(name="Driver", default="")


def is_untouched(data_root: Path) -> bool:
    """Whether migrator migrated a data root in place, and Docker certainly did not use it since."""
    states = StateDirectory.all(data_root)
    ours = any(not each.target and each.phase is Phase.PUBLISHED for each in states)
    return ours and sign_of_use_in(data_root) is None


def left_out_before(
    state: StateDirectory, target: str, expected: Mapping[str, tuple[str, str]]
) -> Iterator[Problem]:
    """Names that another image had when an earlier run for this target came, and still has.

    `expected` are the keys and image IDs of names, as problems call them, whose
    images are in the new store.
    """
    found: dict[Problem, None] = {}
    for earlier in reversed(StateDirectory.all(state.data_root)):
        if earlier.target == state.target and earlier.phase is Phase.PUBLISHED:
            found |= dict.fromkeys(left_out.read(earlier.left_out))
    names: Mapping[str, str] = {}
    if found:
        with contextlib.suppress(FormatError):
            names = read_names(state.data_root, target)
    for problem in found:
        key, image_id = expected.get(problem.name, ("", ""))
        if image_id and names.get(key) != image_id:
            yield problem


def _task(state: StateDirectory, image: LegacyImage) -> LayerTask:
    return LayerTask(
        v1_id=image.v1_id,
        parent=image.parent,
        record=image.record,
        new_record=state.records / f"{image.v1_id}.json.gz",
        size=image.layersize or 0,
    )


def why_nothing_new(problems: Iterable[Problem], target: str = "") -> str:
    """What there is to say of a root that has no more to migrate than the problems name.

    `target` is the storage driver to which it is to be migrated, if not its own.
    """
    to = f" to {target}" if target else ""
    if any(problem.fatal for problem in problems):
        return f"nothing new to migrate{to}; this was left out before"
    return f"already migrated{to}, nothing to do"
