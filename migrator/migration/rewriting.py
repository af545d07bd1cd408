"""From hashed layers to the new store: configs, tags and containers under their new IDs.

Follows the order in which Docker 1.10 did it (`migrate/v1/migratev1.go`),
because that decides what wins where two legacy things become one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from migrator.drivers import Driver
from migrator.errors import FormatError, LayerError, Problem, Subject
from migrator.layer.task import Method
from migrator.legacy.containers import LegacyContainer
from migrator.legacy.graph import LegacyImage
from migrator.migration.hashing import Hashed
from migrator.migration.identify import Identified, Identity, identify, identity_of
from migrator.migration.links import left_out
from migrator.migration.plan import Plan
from migrator.store import containerconfig
from migrator.store.distribution import Distribution
from migrator.store.imagedb import ImageDB
from migrator.store.layerdb import LayerDB
from migrator.store.layout import Layout
from migrator.store.markers import stage_markers
from migrator.store.mounts import Mounts
from migrator.store.references import References
from migrator.store.stage import Stage
from migrator.text import shown


class Directories(Protocol):
    """What the directories that hold the layers' files are called in the new store."""

    def of_layer(self, v1_id: str) -> str:
        """The cache-id of an image's layer."""

    def of_container(self, container: str) -> tuple[str, str | None]:
        """mount-id and, if there is an init layer, init-id of a container. Raises LayerError."""


@dataclass(frozen=True, slots=True)
class OwnDirectories:
    """Those of the legacy store: every layer stays where it is."""

    driver: Driver

    def of_layer(self, v1_id: str) -> str:
        return v1_id

    def of_container(self, container: str) -> tuple[str, str | None]:
        if not self.driver.container_exists(container):
            raise LayerError("its writable layer is missing; Docker will not show it")
        return container, self.driver.init_layer(container)


@dataclass(slots=True)
class Rewritten:
    """What was staged. `images` maps v1 IDs to image IDs, `chains` v1 IDs to chainIDs.

    `directories` are all that the new store names, as `Directories` gives them.
    """

    images: dict[str, str] = field(default_factory=dict)
    chains: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    layers: int = 0
    duplicates: int = 0
    tags: int = 0
    containers: int = 0
    problems: list[Problem] = field(default_factory=list)


def rewrite(
    plan: Plan, hashed: Hashed, staging: Stage, directories: Directories | None = None
) -> Rewritten:
    """Stage everything that `plan` names and whose layers are hashed.

    `directories` are those of the layers, by default the legacy ones. What
    cannot be done is a problem of the result; the rest goes on.
    """
    directories = directories or OwnDirectories(plan.driver)
    result = Rewritten()
    images = _images(plan, hashed, staging, directories, result)
    _containers(plan, images, staging, directories, result)
    _tags(plan, staging, result)
    stage_markers(staging, {**plan.before, **result.images})
    return result


def _images(
    plan: Plan, hashed: Hashed, staging: Stage, directories: Directories, result: Rewritten
) -> dict[str, Identity]:
    stores = _Stores(staging, plan, directories)
    if plan.untouched:
        for image in plan.images:
            _repeat(image, plan, staging, stores)
    done: dict[str, Identity] = {}
    for each in identify(
        _needed(plan),
        {v1_id: layer.digest.diff_id for v1_id, layer in hashed.layers.items()},
        hashed.failed,
        lambda image: existing_image(plan, staging, image.v1_id),
    ):
        if each.identity is not None:
            done[each.image.v1_id] = each.identity
        if each.problem is not None:
            result.problems.append(each.problem)
        if each.image.v1_id not in plan.migrated:
            _write(each, hashed, stores, result)
    stores.images.finish()
    stores.distribution.finish()
    result.problems += stores.distribution.problems
    return done


def _repeat(image: LegacyImage, plan: Plan, staging: Stage, stores: _Stores) -> None:
    """Have the digest of an image that was migrated before come in its place among the others'."""
    if image.checksum is not None:
        with contextlib.suppress(FormatError):
            identity = existing_image(plan, staging, image.v1_id)
            if identity is not None:
                stores.distribution.repeat(identity.stack.diff_ids[-1], image.checksum)


def _needed(plan: Plan) -> Iterator[LegacyImage]:
    """The images that are migrated now, and those on which something lies that is."""
    new = (image.parent for image in plan.images if image.v1_id not in plan.migrated)
    needed = {*new, *(each.v1_id for each in plan.containers)}
    yield from (x for x in plan.images if x.v1_id not in plan.migrated or x.v1_id in needed)


class _Stores:
    """The parts of the new store that images go into."""

    def __init__(self, staging: Stage, plan: Plan, directories: Directories) -> None:
        self.directories = directories
        self.layers = LayerDB(staging, plan.target)
        self.images = ImageDB(staging, plan.target)
        self.distribution = Distribution(staging, plan.target)
        movable = plan.images if plan.untouched else ()
        self._order = {image.v1_id: number for number, image in enumerate(movable)}

    def comes_before(self, v1_id: str, other: str) -> bool:
        """Whether an image would have registered its layer first, had it not been left out before.

        Never so where a container may lie on the layer of the other one by now.
        """
        return self._order.get(v1_id, 0) < self._order.get(other, -1)


def _write(each: Identified, hashed: Hashed, stores: _Stores, result: Rewritten) -> None:
    """Stage an image and its layer, as far as they are known.

    As Docker does: if its config is unusable, the layer is there all the same, for
    another image with the same layers.
    """
    if each.stack is None:
        return
    v1_id, stack = each.image.v1_id, each.stack
    layer = hashed.layers[v1_id]
    cache_id = stores.directories.of_layer(v1_id)
    new = stores.layers.register(
        stack.below, stack.diff_ids[-1], layer.digest.size, cache_id, hashed.records[v1_id]
    )
    if new:
        result.directories.add(cache_id)
    elif stores.comes_before(v1_id, stores.layers.cache_id(stack.chain)):
        stores.layers.move(stack.chain, cache_id)
    result.layers += new
    result.duplicates += not new
    if each.identity is None:
        return
    stores.images.add(each.identity.config, each.parent.image_id if each.parent else None)
    # A diff that was made anew need not be what the blob in the registry holds.
    if each.image.checksum is not None and layer.method is Method.RECORD:
        stores.distribution.add(stack.diff_ids[-1], each.image.checksum)
    result.images[v1_id] = each.identity.image_id
    result.chains[v1_id] = stack.chain


def existing_image(plan: Plan, staging: Stage, v1_id: str) -> Identity | None:
    """An image that an earlier migration made, read back; None for another. Raises FormatError."""
    image_id = plan.migrated.get(v1_id)
    if image_id is None:
        return None
    path = Layout(plan.target).config(image_id)
    return identity_of(staging.current(path) or b"", image_id, path)


def _tags(plan: Plan, staging: Stage, result: Rewritten) -> None:
    images = {**plan.migrated, **result.images}
    references = References(staging, plan.target)
    for reference in plan.references:
        image_id = images.get(reference.v1_id)
        if image_id is None:
            reason = f"its image {reference.v1_id} could not be migrated"
            result.problems.append(Problem(Subject.TAG, reference.shown, reason))
        elif other := references.add(reference.name, reference.key, image_id):
            reason = f"it exists already and is another image, {other}"
            result.problems.append(Problem(Subject.TAG, reference.shown, reason))
        else:
            result.tags += 1
    references.finish()


def _containers(
    plan: Plan,
    images: Mapping[str, Identity],
    staging: Stage,
    directories: Directories,
    result: Rewritten,
) -> None:
    mounts = Mounts(staging, plan.target)
    driver = plan.target if plan.converts else None
    migrated: dict[str, LegacyContainer] = {}
    for container in plan.containers:
        image = images.get(container.v1_id)
        if image is None:
            reason = f"its image {container.v1_id} could not be migrated"
            result.problems.append(Problem(Subject.CONTAINER, container.shown, reason))
            continue
        path = f"containers/{container.id}/{containerconfig.CONFIG}"
        if not staging.present(path):
            try:
                config = containerconfig.rewrite(container.config, image.image_id, driver)
            except FormatError as error:
                result.problems.append(Problem(Subject.CONTAINER, container.shown, str(error)))
                continue
            staging.write(path, config)
        try:
            mount_id, init_id = directories.of_container(container.id)
        except LayerError as error:
            reason = shown(str(error))
            result.problems.append(Problem(Subject.CONTAINER, container.shown, reason, error.hint))
        else:
            if mounts.register(container.id, image.stack.chain, mount_id, init_id):
                result.directories |= {mount_id} if init_id is None else {mount_id, init_id}
        migrated[container.id] = container
        result.containers += 1
    _links(plan, migrated, staging, result)


def _links(
    plan: Plan,
    migrated: Mapping[str, LegacyContainer],
    staging: Stage,
    result: Rewritten,
) -> None:
    """Move links from the link graph into the host configs of migrated containers."""
    before = {container.id: container for container in plan.containers_before}
    known = {**before, **migrated}
    for container in known.values():
        if container.hostconfig is None or container.id not in plan.links:
            continue
        wanted = []
        for link in plan.links[container.id]:
            if link.child in known:
                wanted.append(f"/{known[link.child].name}:{link.alias}")
            else:
                result.problems.append(left_out(container, link))
        try:
            hostconfig = containerconfig.with_more_links(container.hostconfig, wanted)
        except FormatError as error:
            result.problems.append(Problem(Subject.LINK, container.shown, str(error)))
            continue
        if hostconfig is not None:
            staging.replace(f"containers/{container.id}/{containerconfig.HOST_CONFIG}", hostconfig)
