"""The metadata of a content-addressed store, carried over to `image/overlay2`.

What is there already stays: objects are the same wherever they are, of two
images with one tag the one that has it keeps it.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass

from migrator.conversion.stored import Transferable
from migrator.conversion.trees import Converted
from migrator.errors import FormatError, Problem, Subject
from migrator.store import containerconfig, overlay2
from migrator.store.containerconfig import CONFIG
from migrator.store.distribution import Distribution, read_digest_lists
from migrator.store.layerdb import LayerDB
from migrator.store.layout import PARENT, Layout
from migrator.store.mounts import Mounts
from migrator.store.references import References
from migrator.store.stage import Stage
from migrator.system.rootfiles import RootFiles
from migrator.text import shown


@dataclass(frozen=True, slots=True)
class Carried:
    """What was staged; `directories` are those in `overlay2/` that it names."""

    images: int
    layers: int
    tags: int
    containers: int
    directories: frozenset[str]
    problems: tuple[Problem, ...]


def carry(files: RootFiles, store: Transferable, converted: Converted, stage: Stage) -> Carried:
    """Stage all metadata of `store` whose layers were built, or were there."""
    layers = _layers(store, converted, stage)
    images = _images(files, store, stage)
    tags, untagged = _references(store, stage)
    lost_digests = _distribution(files, store, stage)
    containers, directories, left_out = _containers(store, converted, stage)
    return Carried(
        images=images,
        layers=len(layers),
        tags=tags,
        containers=containers,
        directories=frozenset((*layers, *directories)),
        problems=(*untagged, *lost_digests, *left_out),
    )


def _layers(store: Transferable, converted: Converted, stage: Stage) -> list[str]:
    """Stage the layers that are new; returns the directories of their files."""
    layerdb = LayerDB(stage, overlay2.NAME)
    named = []
    for chain, layer in store.layers.items():
        cache_id = converted.layers.get(chain)
        directory = (store.driver.data_root / layer.record).parent
        if cache_id is not None and layerdb.carry(chain, cache_id, directory):
            named.append(cache_id)
    return named


def _images(files: RootFiles, store: Transferable, stage: Stage) -> int:
    """Stage the images that are new; returns how many there are."""
    source, target = Layout(store.driver.name), Layout(overlay2.NAME)
    new = [image_id for image_id in store.images if not stage.present(target.config(image_id))]
    for image_id in new:
        stage.link(target.config(image_id), files.root / source.config(image_id))
        here, there = source.image_metadata(image_id), target.image_metadata(image_id)
        for name in files.names(here):
            if _is_wanted(files, f"{here}/{name}", name, store) and not stage.present(
                f"{there}/{name}"
            ):
                stage.link(f"{there}/{name}", files.root / here / name)
    return len(new)


def _is_wanted(files: RootFiles, path: str, name: str, store: Transferable) -> bool:
    """Whether a file of an image's metadata is one, and no parent that is left out."""
    try:
        status = files.status(path)
        if status is None or not stat.S_ISREG(status.st_mode):
            return False
        return name != PARENT or files.read(path).decode() in store.images
    except (FormatError, UnicodeDecodeError):
        return False


def _references(store: Transferable, stage: Stage) -> tuple[int, list[Problem]]:
    """Stage the names: how many there are, and why others are left out."""
    references = References(stage, overlay2.NAME)
    problems = []
    for each in store.references:
        if other := references.add(each.name, each.key, each.image_id):
            reason = f"it exists already and is another image, {other}"
            problems.append(Problem(Subject.TAG, each.key, reason))
    references.finish()
    return len(store.references) - len(problems), problems


def _distribution(files: RootFiles, store: Transferable, stage: Stage) -> list[Problem]:
    """Stage the digests of layers; returns what is wrong with some."""
    distribution = Distribution(stage, overlay2.NAME)
    diff_ids = {layer.diff for layer in store.layers.values()}
    found = read_digest_lists(files, store.driver.name)
    for diff_id, entries in found.lists.items():
        if diff_id in diff_ids:
            distribution.carry(diff_id, entries)
    distribution.finish()
    faults = (
        Problem(each.about, shown(each.name), shown(each.reason), fatal=False)
        for each in found.findings
    )
    return [*faults, *distribution.problems]


def _containers(
    store: Transferable, converted: Converted, stage: Stage
) -> tuple[int, list[str], list[Problem]]:
    """Stage containers: how many there are, their layers' directories, why others are left out."""
    mounts = Mounts(stage, overlay2.NAME)
    staged = 0
    named: list[str] = []
    problems: list[Problem] = []
    for container in store.containers:
        directories = converted.containers.get(container.id)
        if directories is None:
            continue
        try:
            config = containerconfig.with_driver(container.config, overlay2.NAME)
        except FormatError as error:
            problems.append(Problem(Subject.CONTAINER, shown(container.id), error.message))
            continue
        mounts.register(container.id, container.mount.parent, *directories)
        named += [name for name in directories if name is not None]
        stage.replace(f"containers/{container.id}/{CONFIG}", config)
        staged += 1
    return staged, named, problems
