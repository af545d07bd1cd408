"""From hashed layers to the new store: configs, tags and containers under their new IDs.

Follows the order in which Docker 1.10 did it (`migrate/v1/migratev1.go`),
because that decides what wins where two legacy things become one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from migrator import gojson
from migrator.drivers import Driver
from migrator.errors import FormatError, LayerError, Problem, Subject
from migrator.layer.identity import chain_of, is_sha256
from migrator.layer.task import Method
from migrator.legacy.containers import LegacyContainer
from migrator.legacy.graph import LegacyImage
from migrator.migration.hashing import Hashed
from migrator.migration.links import left_out
from migrator.migration.plan import Plan
from migrator.store import containerconfig, imageconfig
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
class MigratedImage:
    """A migrated image, as far as its children and containers need it."""

    image_id: str
    diff_ids: tuple[str, ...]
    chain: str
    history: tuple[bytes, ...]


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
) -> dict[str, MigratedImage]:
    stores = _Stores(staging, plan, directories)
    needed = _needed(plan)
    done: dict[str, MigratedImage] = {}
    lost: dict[str, str] = {}
    for image in plan.images:
        migrated = plan.migrated.get(image.v1_id)
        if migrated is not None and plan.untouched:
            _repeat(image, migrated, plan, staging, stores)
        if migrated is not None and image.v1_id not in needed:
            continue
        if migrated is None and image.parent in lost:
            lost[image.v1_id] = lost[image.parent]
            reason = f"it builds on {lost[image.v1_id]}, which could not be migrated"
            result.problems.append(Problem(Subject.IMAGE, image.v1_id, reason))
            continue
        try:
            if migrated is not None:
                done[image.v1_id] = existing_image(plan, staging, migrated)
            else:
                parent = done[image.parent] if image.parent is not None else None
                done[image.v1_id] = _image(image, parent, hashed, stores, result)
        except (LayerError, FormatError) as error:
            lost[image.v1_id] = image.v1_id
            about = Subject.LAYER if isinstance(error, LayerError) else Subject.IMAGE
            result.problems.append(Problem(about, image.v1_id, shown(str(error)), error.hint))
    stores.images.finish()
    stores.distribution.finish()
    result.problems += stores.distribution.problems
    return done


def _repeat(image: LegacyImage, image_id: str, plan: Plan, staging: Stage, stores: _Stores) -> None:
    """Have the digest of an image that was migrated before come in its place among the others'."""
    if image.checksum is not None:
        with contextlib.suppress(FormatError):
            diff_ids = existing_image(plan, staging, image_id).diff_ids
            stores.distribution.repeat(diff_ids[-1], image.checksum)


def _needed(plan: Plan) -> set[str]:
    """The images on which something lies that is migrated now."""
    new = (image.parent for image in plan.images if image.v1_id not in plan.migrated)
    return {*(parent for parent in new if parent), *(each.v1_id for each in plan.containers)}


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


def _image(
    image: LegacyImage,
    parent: MigratedImage | None,
    hashed: Hashed,
    stores: _Stores,
    result: Rewritten,
) -> MigratedImage:
    """Stage one image and its layer. Raises LayerError or FormatError if that cannot be done."""
    failure = hashed.failed.get(image.v1_id)
    if failure is not None:
        raise LayerError(failure.message, subject=failure.subject, hint=failure.hint)
    layer = hashed.layers[image.v1_id]
    diff_id = layer.digest.diff_id
    # Before the config is looked at, as Docker does: if that is unusable, the
    # layer is there all the same, for another image with the same layers.
    cache_id = stores.directories.of_layer(image.v1_id)
    chain, new = stores.layers.register(
        parent.chain if parent else None,
        diff_id,
        layer.digest.size,
        cache_id,
        hashed.records[image.v1_id],
    )
    if new:
        result.directories.add(cache_id)
    elif stores.comes_before(image.v1_id, stores.layers.cache_id(chain)):
        stores.layers.move(chain, cache_id)
    result.layers += new
    result.duplicates += not new
    entry = imageconfig.history_entry(image.json)
    history = (*(parent.history if parent else ()), entry)
    diff_ids = (*(parent.diff_ids if parent else ()), diff_id)
    config = imageconfig.make_config(image.json, diff_ids, history)
    image_id = stores.images.add(config, parent.image_id if parent else None)
    # A diff that was made anew need not be what the blob in the registry holds.
    if image.checksum is not None and layer.method is Method.RECORD:
        stores.distribution.add(diff_id, image.checksum)
    result.images[image.v1_id] = image_id
    result.chains[image.v1_id] = chain
    return MigratedImage(image_id, diff_ids, chain, history)


def existing_image(plan: Plan, staging: Stage, image_id: str) -> MigratedImage:
    """An image that an earlier migration made, read back from its config. Raises FormatError."""
    path = Layout(plan.target).config(image_id)
    config = staging.current(path) or b""
    try:
        diff_ids = tuple(orjson.loads(gojson.members(config)["rootfs"])["diff_ids"])
    except (KeyError, TypeError, orjson.JSONDecodeError):
        diff_ids = ()
    if not all(isinstance(diff_id, str) and is_sha256(diff_id) for diff_id in diff_ids):
        diff_ids = ()
    chain = chain_of(diff_ids)
    if chain is None:
        raise FormatError("no config of an image with layers", subject=path)
    return MigratedImage(image_id, diff_ids, chain, imageconfig.inherited_history(config))


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
    images: Mapping[str, MigratedImage],
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
            if mounts.register(container.id, image.chain, mount_id, init_id):
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
