"""The layers of a legacy store that are to be converted, and what comes of them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from migrator.conversion.building import ContainerLayers, ImageLayer, Layers, Origin
from migrator.conversion.names import Names
from migrator.conversion.stored import Transferable
from migrator.conversion.trees import Converted
from migrator.errors import FormatError, LayerError
from migrator.layer.identity import chain_id
from migrator.migration.hashing import Hashed
from migrator.migration.plan import Plan
from migrator.migration.rewriting import existing_image
from migrator.store.stage import Stage


@dataclass(frozen=True, slots=True)
class LegacyLayers:
    """What of a plan is to be built, and the chainID of every image in it, by v1 ID."""

    layers: Layers
    chains: dict[str, str]


def legacy_layers(
    plan: Plan, hashed: Hashed, stage: Stage, names: Names, stored: Transferable | None
) -> LegacyLayers:
    """All layers that were hashed, as far as the new store has not got them; containers, too.

    Those of `stored`, which come over as well, are not among them.
    """
    chains = _chains(plan, hashed, stage, stored)
    found: dict[str, tuple[str | None, list[Origin]]] = {}
    for image in plan.images:
        chain = chains.get(image.v1_id)
        if chain is None or image.v1_id in plan.migrated or names.has(chain):
            continue
        if stored is not None and chain in stored.layers:
            continue
        parent = None if image.parent is None else chains[image.parent]
        digest = hashed.layers[image.v1_id].digest
        origin = Origin(image.v1_id, image.parent, hashed.records[image.v1_id], digest.fingerprint)
        found.setdefault(chain, (parent, []))[1].append(origin)
    sizes = {
        chains[v1_id]: hashed.layers[v1_id].digest.size for v1_id in chains.keys() & hashed.layers
    }
    images = (
        ImageLayer(chain, parent, tuple(origins), sizes[chain])
        for chain, (parent, origins) in found.items()
    )
    driver = plan.driver
    containers = (
        ContainerLayers(
            each.id, chains[each.v1_id], each.v1_id, each.id, driver.init_layer(each.id)
        )
        for each in plan.containers
        if each.v1_id in chains
        and driver.container_exists(each.id)
        and not names.has_container(each.id)
    )
    return LegacyLayers(Layers(driver, tuple(images), tuple(containers)), chains)


def _chains(
    plan: Plan, hashed: Hashed, stage: Stage, stored: Transferable | None
) -> dict[str, str]:
    """The chainIDs of all images whose layers are known, by v1 ID."""
    chains: dict[str, str] = {}
    for image in plan.images:
        if (image_id := plan.migrated.get(image.v1_id)) is not None:
            chain = stored.images[image_id].chain if stored and image_id in stored.images else None
            with contextlib.suppress(FormatError):
                known = None if chain else existing_image(plan, stage, image.v1_id)
                chain = known.stack.chain if known else chain
            if chain is not None:
                chains[image.v1_id] = chain
        elif image.v1_id in hashed.layers and (image.parent is None or image.parent in chains):
            parent = None if image.parent is None else chains[image.parent]
            chains[image.v1_id] = chain_id(parent, hashed.layers[image.v1_id].digest.diff_id)
    return chains


@dataclass(frozen=True, slots=True)
class BuiltDirectories:
    """The directories that were built, for `migrator.migration.rewriting`."""

    converted: Converted
    chains: dict[str, str]
    names: Names

    def of_layer(self, v1_id: str) -> str:
        # Those that the new store has already are not asked for.
        return self.converted.layers.get(self.chains[v1_id], v1_id)

    def of_container(self, container: str) -> tuple[str, str | None]:
        if (error := self.converted.failed.get(container)) is not None:
            raise LayerError(error.message, subject=error.subject, hint=error.hint)
        if self.names.has_container(container):
            return container, None
        if container not in self.converted.containers:
            raise LayerError("its writable layer is missing; Docker will not show it")
        return self.converted.containers[container]


def without_unbuilt(hashed: Hashed, legacy: LegacyLayers, converted: Converted) -> Hashed:
    """`hashed`, with layers of which no directory could be built among those that failed, too."""
    unbuilt = {
        v1_id: converted.failed[chain]
        for v1_id, chain in legacy.chains.items()
        if chain in converted.failed and v1_id not in hashed.failed
    }
    return replace(hashed, failed=hashed.failed | unbuilt)
