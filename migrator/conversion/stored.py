"""A content-addressed store (Docker >= 1.10) as a source: what of it is sound, and what is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from migrator.conversion.building import Origin
from migrator.conversion.model import ContainerLayers, ImageLayer, Layers
from migrator.conversion.names import Names
from migrator.drivers import Driver
from migrator.errors import FormatError, MigratorError, Problem, Subject
from migrator.store import overlay2
from migrator.system.files import MAX_JSON
from migrator.system.rootfiles import RootFiles, json_object
from migrator.text import shown
from migrator.verification.containers import CONFIG
from migrator.verification.findings import Finding, Findings
from migrator.verification.images import StoredImage, read_images
from migrator.verification.layers import LayerStore, StoredLayer, read_layers
from migrator.verification.mounts import Mount, read_mounts
from migrator.verification.references import StoredReference, read_references

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
class Store:
    """What can be carried over, and problems that tell what cannot.

    `layers` are by chainID, parents first; `images` by image ID.
    """

    driver: Driver
    layers: Mapping[str, StoredLayer]
    images: Mapping[str, StoredImage]
    references: tuple[StoredReference, ...]
    containers: tuple[StoredContainer, ...]
    problems: tuple[Problem, ...]


def read_store(files: RootFiles, driver: Driver) -> Store:
    """Read the store `image/<driver>/`; what is wrong in it becomes a problem."""
    findings = Findings()
    found = read_layers(files, driver, findings)
    all_images = read_images(files, driver.name, found, findings)
    references = [*read_references(files, driver.name, all_images, findings)]
    mounts = read_mounts(files, driver, found, findings)
    problems: list[Problem] = []
    store = _resting_on(
        found.layers,
        Store(
            driver,
            found.layers,
            all_images.images,
            tuple(reference for reference in references if reference.sound),
            tuple(_containers(files, driver, mounts, all_images.present, problems)),
            (),
        ),
    )
    carried: set[tuple[Subject, str]] = {
        *((Subject.LAYER, chain) for chain in store.layers),
        *((Subject.IMAGE, image_id) for image_id in store.images),
        *((Subject.TAG, reference.key) for reference in store.references),
        *((Subject.CONTAINER, container.id) for container in store.containers),
    }
    problems = [*_problems(findings, carried), *problems, *store.problems]
    problems += [Problem(Subject.ROOT, shown(path), why) for path, why in files.unreadable.items()]
    return dataclasses.replace(store, problems=tuple(problems))


def to_build(store: Store, names: Names) -> Layers:
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


def images_in(files: RootFiles, driver: str) -> frozenset[str]:
    """The image IDs of a driver's store."""
    return read_images(files, driver, LayerStore(frozenset(), {}), Findings()).present


def without(store: Store, failed: Mapping[str, MigratorError]) -> Store:
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
    return _resting_on({k: v for k, v in store.layers.items() if k not in failed}, store)


def _resting_on(layers: Mapping[str, StoredLayer], store: Store) -> Store:
    """The store with no other than these layers, and without all that needs another one."""
    sound, reasons = _sound(layers)
    images: dict[str, StoredImage] = {}
    problems = list(store.problems)
    for image_id, image in store.images.items():
        if image.chain is None or image.chain in sound:
            images[image_id] = image
        else:
            reason = reasons.get(image.chain, f"its layer {image.chain} cannot be used")
            problems.append(Problem(Subject.IMAGE, image_id, reason))
    references = []
    for reference in store.references:
        if reference.image_id in images:
            references.append(reference)
        else:
            reason = f"its image {reference.image_id} cannot be migrated"
            problems.append(Problem(Subject.TAG, reference.key, reason))
    containers = []
    for container in store.containers:
        parent = container.mount.parent
        if parent is not None and parent not in sound:
            reason = reasons.get(parent, f"the layer {parent} below it cannot be used")
        elif container.image is not None and container.image not in images:
            reason = f"its image {container.image} cannot be migrated"
        else:
            containers.append(container)
            continue
        problems.append(Problem(Subject.CONTAINER, shown(container.id), reason))
    return Store(store.driver, sound, images, tuple(references), tuple(containers), tuple(problems))


def _origin(store: Store, layer: StoredLayer) -> Origin:
    below = None if layer.parent is None else store.layers[layer.parent].cache_id
    return Origin(layer.cache_id, below, store.driver.data_root / layer.record, layer.diff)


def _sound(layers: Mapping[str, StoredLayer]) -> tuple[dict[str, StoredLayer], dict[str, str]]:
    """The layers of which all below are there, parents first; why others cannot be carried over."""
    depths: dict[str | None, int] = {None: 0}
    sound: dict[str, StoredLayer] = {}
    reasons: dict[str, str] = {}
    for chain in layers:
        line = []
        at: str | None = chain
        while at is not None and at in layers and at not in depths and at not in reasons:
            line.append(at)
            at = layers[at].parent
        for member in reversed(line):
            parent = layers[member].parent
            depth = depths.get(parent)
            if depth is None:
                reasons[member] = reasons.get(
                    parent or "", f"it builds on the layer {parent}, which cannot be used"
                )
            elif depth == overlay2.MAX_CHAIN:
                reasons[member] = (
                    f"it has more than {overlay2.MAX_CHAIN} layers, and Docker takes no more"
                )
            else:
                depths[member] = depth + 1
                sound[member] = layers[member]
    return sound, reasons


def _containers(
    files: RootFiles,
    driver: Driver,
    mounts: Mapping[str, Mount],
    images: Set[str],
    problems: list[Problem],
) -> Iterator[StoredContainer]:
    """The containers of this driver whose writable layers are there."""
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
                    problems.append(
                        Problem(Subject.CONTAINER, shown(name), shown(reason), fatal=False)
                    )
                continue
            if name not in mounts or mounts[name].directories is None:
                raise FormatError("its writable layer is missing")
        except FormatError as error:
            problems.append(Problem(Subject.CONTAINER, shown(name), shown(error.message)))
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
