"""The layers that are to be converted, whichever kind of store they come from."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.conversion.building import Origin
from migrator.drivers import Driver


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """The layer `chain` on the layer `parent` (chainIDs); all `origins` are the same layer.

    `size` is in bytes.
    """

    chain: str
    parent: str | None
    origins: tuple[Origin, ...]
    size: int

    @property
    def record_size(self) -> int | None:
        """Bytes of its tar-split record, which tell how many files it has; None without one."""
        record = self.origins[0].record
        try:
            return record.stat().st_size if record is not None else None
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class ContainerLayers:
    """A container's writable layer and, if it has one, its init layer, on the layer `parent`.

    `writable`, `init` and `below` are the source driver's IDs, `below` that of `parent`.
    """

    container: str
    parent: str | None
    below: str | None
    writable: str
    init: str | None


@dataclass(frozen=True, slots=True)
class Layers:
    """All that are to be built: image layers, parents first, and those of containers."""

    driver: Driver
    images: tuple[ImageLayer, ...] = ()
    containers: tuple[ContainerLayers, ...] = ()

    def joined(self, others: Layers) -> Layers:
        """These, and then others of the same driver."""
        return Layers(
            self.driver, (*self.images, *others.images), (*self.containers, *others.containers)
        )
