"""What of a store rests on sound layers, and why the rest does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from migrator.layer.identity import chains_of
from migrator.store.imagedb import StoredImage
from migrator.store.layerdb import StoredLayer


@dataclass(frozen=True, slots=True)
class Usable:
    """Layers by chainID, parents first, and images by image ID; why others cannot be used."""

    layers: Mapping[str, StoredLayer] = field(default_factory=dict)
    images: Mapping[str, StoredImage] = field(default_factory=dict)
    unusable_layers: Mapping[str, str] = field(default_factory=dict)
    unusable_images: Mapping[str, str] = field(default_factory=dict)


def resting_on(
    layers: Mapping[str, StoredLayer],
    images: Mapping[str, StoredImage],
    faults: Mapping[str, str],
    most: int | None = None,
) -> Usable:
    """What can be used where there are no other layers than `layers`, which are sound.

    `faults` says of others what is wrong with them; `most` is how many layers may
    lie on each other.
    """
    sound, reasons = _sound(layers, most)
    usable: dict[str, StoredImage] = {}
    unusable: dict[str, str] = {}
    for image_id, image in images.items():
        missing = next((chain for chain in chains_of(image.diff_ids) if chain not in sound), None)
        if missing is None:
            usable[image_id] = image
        else:
            why = faults.get(missing) or reasons.get(missing) or "it is not there"
            unusable[image_id] = f"its layer {missing} cannot be used: {why}"
    return Usable(sound, usable, reasons, unusable)


def _sound(
    layers: Mapping[str, StoredLayer], most: int | None
) -> tuple[dict[str, StoredLayer], dict[str, str]]:
    """The layers of which all below are there, parents first; why others cannot be used."""
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
                builds = f"it builds on the layer {parent}, which cannot be used"
                reasons[member] = reasons.get(parent or "", builds)
            elif depth == most:
                reasons[member] = f"it has more than {most} layers, and Docker takes no more"
            else:
                depths[member] = depth + 1
                sound[member] = layers[member]
    return sound, reasons
