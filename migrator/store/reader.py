"""A content-addressed store as a whole (Docker >= 1.10), Docker's own or a migrated one."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.drivers import Driver
from migrator.store.findings import Finding
from migrator.store.imagedb import ImageStore, read_images
from migrator.store.layerdb import LayerStore, read_layers
from migrator.store.mounts import MountStore, read_mounts
from migrator.store.references import ReferenceStore, read_references
from migrator.system.rootfiles import RootFiles


@dataclass(frozen=True, slots=True)
class Store:
    """The parts of one driver's store, each with what is wrong in it."""

    driver: Driver
    layers: LayerStore
    images: ImageStore
    references: ReferenceStore
    mounts: MountStore

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong in any part."""
        parts = (self.layers, self.images, self.references, self.mounts)
        return tuple(finding for part in parts for finding in part.findings)


def read_store(files: RootFiles, driver: Driver) -> Store:
    """Read the store `image/<driver>/`. What is wrong in it becomes a finding of its part."""
    layers = read_layers(files, driver)
    images = read_images(files, driver.name, layers)
    references = read_references(files, driver.name, images)
    return Store(driver, layers, images, references, read_mounts(files, driver, layers))
