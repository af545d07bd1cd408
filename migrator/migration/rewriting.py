"""From hashed layers to the new store: configs, tags and containers under their new IDs.

Follows the order in which Docker 1.10 did it (`migrate/v1/migratev1.go`),
because that decides what wins where two legacy things become one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from migrator.drivers import Driver
from migrator.errors import FormatError, LayerError, Problem, Subject
from migrator.layer.digest import Method
from migrator.legacy.containers import LegacyContainer
from migrator.legacy.graph import LegacyImage
from migrator.migration.hashing import Hashed
from migrator.migration.identify import (
    Identity,
    Stack,
    builds_on,
    identify,
    identity_of,
)
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


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What was staged. `images` maps v1 IDs to image IDs, `chains` v1 IDs to chainIDs.

    `layers` and `duplicates` count the layers that were registered, and that turned
    out to be one of them; `directories` are all that the new store names, as
    `Directories` gives them.
    """

    images: Mapping[str, str]
    chains: Mapping[str, str]
    directories: frozenset[str]
    layers: int
    duplicates: int
    tags: int
    containers: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Images:
    """The images by v1 ID, `new` ones among them, with what became of their layers."""

    all: Mapping[str, Identity]
    new: Mapping[str, Identity]
    directories: Sequence[str]
    duplicates: int
    problems: Sequence[Problem]


@dataclass(frozen=True, slots=True)
class _Containers:
    """Containers that were migrated, by ID, and the directories of their layers."""

    migrated: Mapping[str, LegacyContainer]
    directories: Sequence[str]
    problems: Sequence[Problem]


def rewrite(
    plan: Plan, hashed: Hashed, staging: Stage, directories: Directories | None = None
) -> Rewritten:
    """Stage everything that `plan` names and whose layers are hashed.

    `directories` are those of the layers, by default the legacy ones. What
    cannot be done is a problem of the result; the rest goes on.
    """
    directories = directories or OwnDirectories(plan.driver)
    images = _images(plan, hashed, staging, directories)
    containers = _containers(plan, images.all, staging, directories)
    unlinked = _links(plan, containers.migrated, staging)
    image_ids = {v1_id: identity.image_id for v1_id, identity in images.new.items()}
    tags, untagged = _tags(plan, image_ids, staging)
    stage_markers(staging, {**plan.before, **image_ids})
    return Rewritten(
        images=image_ids,
        chains={v1_id: identity.stack.chain for v1_id, identity in images.new.items()},
        directories=frozenset((*images.directories, *containers.directories)),
        layers=len(images.directories),
        duplicates=images.duplicates,
        tags=tags,
        containers=len(containers.migrated),
        problems=(*images.problems, *containers.problems, *unlinked, *untagged),
    )


def _images(plan: Plan, hashed: Hashed, staging: Stage, directories: Directories) -> _Images:
    stores = _Stores(staging, plan, directories)
    done: dict[str, Identity] = {}
    registered: list[str] = []
    duplicates = 0
    unwritten: dict[str, str] = {}
    problems: list[Problem] = []
    for each in identify(
        _needed(plan),
        {v1_id: layer.digest.diff_id for v1_id, layer in hashed.layers.items()},
        hashed.failed,
        lambda image: existing_image(plan, staging, image.v1_id),
    ):
        v1_id, parent = each.image.v1_id, each.image.parent or ""
        if each.problem is not None:
            problems.append(each.problem)
        if v1_id not in plan.migrated and parent in unwritten:
            unwritten[v1_id] = culprit = unwritten[parent]
            problems.append(builds_on(v1_id, culprit))
            continue
        try:
            # As Docker does: if its config is unusable, the layer is there all the same, for
            # another image with the same layers.
            if each.stack is not None and v1_id not in plan.migrated:
                cache_id = _register(each.image, each.stack, hashed, stores)
                registered += [] if cache_id is None else [cache_id]
                duplicates += cache_id is None
            if each.identity is not None and v1_id not in plan.migrated:
                above = each.parent.image_id if each.parent else None
                stores.images.add(each.identity.config, above)
        except FormatError as error:
            # What stands in the new store already is in the way.
            unwritten[v1_id] = v1_id
            problems.append(Problem(Subject.IMAGE, v1_id, shown(str(error)), error.hint))
            continue
        if each.identity is not None:
            done[v1_id] = each.identity
    stores.images.finish()
    new = {v1_id: done[v1_id] for v1_id in done if v1_id not in plan.migrated}
    problems += _digests(plan, new, hashed, staging)
    return _Images(done, new, registered, duplicates, problems)


def _digests(
    plan: Plan, new: Mapping[str, Identity], hashed: Hashed, staging: Stage
) -> list[Problem]:
    """Stage which blobs the layers of new images are in; returns what is wrong with records.

    Of an image that was migrated before, the digest comes in its place among the others'.
    """
    distribution = Distribution(staging, plan.target)
    for image in plan.images:
        if image.checksum is None:
            continue
        if image.v1_id in new:
            # A diff that was made anew need not be what the blob in the registry holds.
            if hashed.layers[image.v1_id].method is Method.RECORD:
                distribution.add(new[image.v1_id].stack.diff_ids[-1], image.checksum)
        elif plan.untouched:
            with contextlib.suppress(FormatError):
                before = existing_image(plan, staging, image.v1_id)
                if before is not None:
                    distribution.repeat(before.stack.diff_ids[-1], image.checksum)
    distribution.finish()
    return distribution.problems


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
        movable = plan.images if plan.untouched else ()
        self._order = {image.v1_id: number for number, image in enumerate(movable)}

    def comes_before(self, v1_id: str, other: str) -> bool:
        """Whether an image would have registered its layer first, had it not been left out before.

        Never so where a container may lie on the layer of the other one by now.
        """
        return self._order.get(v1_id, 0) < self._order.get(other, -1)


def _register(image: LegacyImage, stack: Stack, hashed: Hashed, stores: _Stores) -> str | None:
    """Stage an image's layer; returns its cache-id, None if another image has the same layer."""
    layer = hashed.layers[image.v1_id]
    cache_id = stores.directories.of_layer(image.v1_id)
    record = hashed.records[image.v1_id]
    if stores.layers.register(stack.below, stack.diff_ids[-1], layer.digest.size, cache_id, record):
        return cache_id
    if stores.comes_before(image.v1_id, stores.layers.cache_id(stack.chain)):
        stores.layers.move(stack.chain, cache_id)
    return None


def existing_image(plan: Plan, staging: Stage, v1_id: str) -> Identity | None:
    """An image that an earlier migration made, read back; None for another. Raises FormatError."""
    image_id = plan.migrated.get(v1_id)
    if image_id is None:
        return None
    path = Layout(plan.target).config(image_id)
    return identity_of(staging.current(path) or b"", image_id, path)


def _tags(plan: Plan, new: Mapping[str, str], staging: Stage) -> tuple[int, list[Problem]]:
    """Stage the names: how many there are, and why others are left out."""
    images = {**plan.migrated, **new}
    references = References(staging, plan.target)
    tags = 0
    problems: list[Problem] = []
    for reference in plan.references:
        image_id = images.get(reference.v1_id)
        if image_id is None:
            reason = f"its image {reference.v1_id} could not be migrated"
            problems.append(Problem(Subject.TAG, reference.shown, reason))
        elif other := references.add(reference.name, reference.key, image_id):
            reason = f"it exists already and is another image, {other}"
            problems.append(Problem(Subject.TAG, reference.shown, reason))
        else:
            tags += 1
    references.finish()
    return tags, problems


def _containers(
    plan: Plan, images: Mapping[str, Identity], staging: Stage, directories: Directories
) -> _Containers:
    mounts = Mounts(staging, plan.target)
    migrated: dict[str, LegacyContainer] = {}
    named: list[str] = []
    problems: list[Problem] = []
    for container in plan.containers:
        try:
            image = _image_of(container, images)
            _write_config(plan, container, image, staging)
        except FormatError as error:
            problems.append(Problem(Subject.CONTAINER, container.shown, str(error)))
            continue
        try:
            mount_id, init_id = directories.of_container(container.id)
        except LayerError as error:
            reason = shown(str(error))
            problems.append(Problem(Subject.CONTAINER, container.shown, reason, error.hint))
        else:
            if mounts.register(container.id, image.stack.chain, mount_id, init_id):
                named += [mount_id] if init_id is None else [mount_id, init_id]
        migrated[container.id] = container
    return _Containers(migrated, named, problems)


def _image_of(container: LegacyContainer, images: Mapping[str, Identity]) -> Identity:
    """Raises FormatError when the image is not among those that were migrated."""
    if container.v1_id not in images:
        raise FormatError(f"its image {container.v1_id} could not be migrated")
    return images[container.v1_id]


def _write_config(plan: Plan, container: LegacyContainer, image: Identity, staging: Stage) -> None:
    """Stage config.v2.json, unless it is there. Raises FormatError."""
    path = f"containers/{container.id}/{containerconfig.CONFIG}"
    if not staging.present(path):
        driver = plan.target if plan.converts else None
        staging.write(path, containerconfig.rewrite(container.config, image.image_id, driver))


def _links(plan: Plan, migrated: Mapping[str, LegacyContainer], staging: Stage) -> list[Problem]:
    """Move links from the link graph into host configs; returns why some are left out."""
    known = {**{container.id: container for container in plan.containers_before}, **migrated}
    problems: list[Problem] = []
    for container in known.values():
        if container.hostconfig is None or container.id not in plan.links:
            continue
        wanted = []
        for link in plan.links[container.id]:
            if link.child in known:
                wanted.append(f"/{known[link.child].name}:{link.alias}")
            else:
                problems.append(left_out(container, link))
        try:
            hostconfig = containerconfig.with_more_links(container.hostconfig, wanted)
        except FormatError as error:
            problems.append(Problem(Subject.LINK, container.shown, str(error)))
            continue
        if hostconfig is not None:
            path = f"containers/{container.id}/{containerconfig.HOST_CONFIG}"
            staging.replace(path, hostconfig)
    return problems
