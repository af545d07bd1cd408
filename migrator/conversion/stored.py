"""A content-addressed store that is to be carried over to another storage driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from migrator.conversion.building import ContainerLayers, ImageLayer, Layers, Origin
from migrator.conversion.names import Names
from migrator.drivers import Driver
from migrator.errors import FormatError, MigratorError, Problem, Subject
from migrator.store import overlay2, reader
from migrator.store.containerconfig import CONFIG
from migrator.store.findings import Finding
from migrator.store.imagedb import StoredImage
from migrator.store.layerdb import StoredLayer
from migrator.store.mounts import Mount
from migrator.store.references import StoredReference
from migrator.store.usable import resting_on
from migrator.system.files import MAX_JSON
from migrator.system.rootfiles import RootFiles, json_object
from migrator.text import shown

# Docker takes a container without a driver for one of aufs (daemon/daemon.go).
_OLDEST_DRIVER = "aufs"


@dataclass(frozen=True, slots=True)
class StoredContainer:
    """A container of the source driver: its config.v2.json and its writable layer.

    `image` is its image's ID, None if that is not there any more: Docker removes
    images that stopped containers have, when it is forced to.
    """

    id: str
    config: bytes
    mount: Mount
    image: str | None


@dataclass(frozen=True, slots=True)
class Transferable:
    """What can be carried over, and problems that tell what cannot.

    `layers` are by chainID, parents first; `images` by image ID.
    """

    driver: Driver
    layers: Mapping[str, StoredLayer]
    images: Mapping[str, StoredImage]
    references: tuple[StoredReference, ...]
    containers: tuple[StoredContainer, ...]
    problems: tuple[Problem, ...]


def read_transferable(files: RootFiles, driver: Driver) -> Transferable:
    """Read the store `image/<driver>/`; what is wrong in it becomes a problem."""
    store = reader.read_store(files, driver)
    mounts, problems = store.mounts.mounts, []
    containers = [*_containers(files, driver, mounts, store.images.present)]
    problems += [each for each in containers if isinstance(each, Problem)]
    found = _resting_on(
        store.layers.layers,
        Transferable(
            driver,
            store.layers.layers,
            store.images.images,
            tuple(each for each in store.references.references if each.sound),
            tuple(each for each in containers if isinstance(each, StoredContainer)),
            (),
        ),
        {each.name: each.reason for each in reversed(store.layers.findings)},
    )
    carried: set[tuple[Subject, str]] = {
        *((Subject.LAYER, chain) for chain in found.layers),
        *((Subject.IMAGE, image_id) for image_id in found.images),
        *((Subject.TAG, reference.key) for reference in found.references),
        *((Subject.CONTAINER, container.id) for container in found.containers),
    }
    problems = [*_problems(store.findings, carried), *problems, *found.problems]
    problems += [Problem(Subject.ROOT, shown(path), why) for path, why in files.unreadable.items()]
    return dataclasses.replace(found, problems=tuple(problems))


def to_build(store: Transferable, names: Names) -> Layers:
    """The layers of a store that overlay2 has not got."""
    images = (
        ImageLayer(
            layer.chain,
            layer.parent,
            (_origin(store, layer),),
            layer.size,
        )
        for layer in store.layers.values()
        if not names.has(layer.chain)
    )
    containers = (
        ContainerLayers(
            container.id,
            container.mount.parent,
            None if (parent := container.mount.parent) is None else store.layers[parent].cache_id,
            *container.mount.directories,
        )
        for container in store.containers
        if container.mount.directories and not names.has_container(container.id)
    )
    return Layers(store.driver, tuple(images), tuple(containers))


def without(store: Transferable, failed: Mapping[str, MigratorError]) -> Transferable:
    """The store without its layers (chainIDs) and containers that could not be built."""
    mine = {*store.layers, *(each.id for each in store.containers)}
    failed = {name: error for name, error in failed.items() if name in mine}
    if not failed:
        return store
    problems = [
        Problem(
            Subject.LAYER if name in store.layers else Subject.CONTAINER,
            shown(name),
            shown(str(error)),
        )
        for name, error in failed.items()
    ]
    containers = tuple(each for each in store.containers if each.id not in failed)
    store = dataclasses.replace(store, containers=containers, problems=(*store.problems, *problems))
    reasons = {chain: shown(str(error)) for chain, error in failed.items()}
    layers = {k: v for k, v in store.layers.items() if k not in failed}
    return _resting_on(layers, store, reasons)


def _resting_on(
    layers: Mapping[str, StoredLayer], store: Transferable, faults: Mapping[str, str]
) -> Transferable:
    """The store with no other than these layers, and without all that needs another one."""
    usable = resting_on(layers, store.images, faults, overlay2.MAX_CHAIN)
    problems = [
        *store.problems,
        *(Problem(Subject.IMAGE, *each) for each in usable.unusable_images.items()),
    ]
    references = []
    for reference in store.references:
        if reference.image_id in usable.images:
            references.append(reference)
        else:
            reason = f"its image {reference.image_id} cannot be migrated"
            problems.append(Problem(Subject.TAG, reference.key, reason))
    containers = []
    for container in store.containers:
        parent = container.mount.parent
        if parent is not None and parent not in usable.layers:
            below = f"the layer {parent} below it cannot be used"
            reason = usable.unusable_layers.get(parent, below)
        elif container.image is not None and container.image not in usable.images:
            reason = f"its image {container.image} cannot be migrated"
        else:
            containers.append(container)
            continue
        problems.append(Problem(Subject.CONTAINER, shown(container.id), reason))
    return Transferable(
        store.driver,
        usable.layers,
        usable.images,
        tuple(references),
        tuple(containers),
        tuple(problems),
    )


def _origin(store: Transferable, layer: StoredLayer) -> Origin:
    below = None if layer.parent is None else store.layers[layer.parent].cache_id
    return Origin(layer.cache_id, below, store.driver.data_root / layer.record, layer.diff)


def _containers(
    files: RootFiles,
    driver: Driver,
    mounts: Mapping[str, Mount],
    images: Set[str],
) -> Iterator[StoredContainer | Problem]:
    """The containers of this driver whose writable layers are there; why others are left out."""
    for name in files.names("containers"):
        path = f"containers/{name}/{CONFIG}"
        try:
            if files.status(path) is None:
                continue
            config = files.read(path, MAX_JSON)
            values = json_object(config)
            container_driver = values.get("Driver") or _OLDEST_DRIVER
            if container_driver != driver.name:
                if container_driver != overlay2.NAME:
                    reason = f"it belongs to the driver {container_driver!s:.50}"
                    yield Problem(Subject.CONTAINER, shown(name), shown(reason), fatal=False)
                continue
            if name not in mounts or mounts[name].directories is None:
                raise FormatError("its writable layer is missing")
        except FormatError as error:
            yield Problem(Subject.CONTAINER, shown(name), shown(error.message))
            continue
        image = values.get("Image")
        has_image = isinstance(image, str) and image in images
        yield StoredContainer(name, config, mounts[name], image if has_image else None)


def _problems(findings: Iterable[Finding], carried: set[tuple[Subject, str]]) -> Iterator[Problem]:
    """Findings as problems: fatal where they leave something out."""
    leaves_out = (Subject.LAYER, Subject.IMAGE, Subject.TAG, Subject.CONTAINER)
    for finding in findings:
        fatal = finding.about in leaves_out and (finding.about, finding.name) not in carried
        where = f" ({Path(finding.path).name})" if finding.path != finding.name else ""
        reason = shown(f"{finding.reason}{where}")
        yield Problem(finding.about, shown(finding.name), reason, fatal=fatal)
