"""Images of a content-addressed store (Docker >= 1.10), Docker's own or a migrated one."""

from __future__ import annotations

from collections.abc import Set

from migrator.drivers import Driver
from migrator.errors import AS_ROOT, DataRootError, FormatError, Problem, Subject
from migrator.export.layers import Layer, Layers
from migrator.export.source import Image, Source
from migrator.layer.identity import chains_of, hex_part, is_sha256
from migrator.store.imagedb import read_config
from migrator.store.layerdb import StoredLayer
from migrator.store.reader import read_store
from migrator.store.usable import resting_on
from migrator.system.files import refuse_closed
from migrator.system.rootfiles import RootFiles


class StoredSource(Source):
    """The images of a content-addressed store by image ID.

    Raises DataRootError when the data root, PermissionDenied when its layers
    cannot be read.
    """

    def __init__(self, driver: Driver) -> None:
        refuse_closed(driver.directory)
        self._root = driver.data_root
        self._driver = driver.name
        with RootFiles(self._root) as files:
            store = read_store(files, driver)
            for path, reason in files.unreadable.items():
                raise DataRootError(reason, subject=str(self._root / path), hint=AS_ROOT)
        self._layers = store.layers.layers
        self._images = store.images.images
        faults: dict[tuple[Subject, str], str] = {}
        for finding in store.findings:
            faults.setdefault((finding.about, finding.name), finding.reason)
        of_layers = {name: why for (about, name), why in faults.items() if about is Subject.LAYER}
        unusable = {
            **{x: faults[Subject.IMAGE, x] for x in store.images.present.difference(self._images)},
            **resting_on(self._layers, self._images, of_layers).unusable_images,
        }
        lost = {x: Problem(Subject.IMAGE, x, why) for x, why in unusable.items()}
        self.names = {}
        for each in store.references.references:
            about = Subject.TAG
            why = faults.get((about, each.key)) or faults.get((about, each.name))
            if why is None and each.image_id in unusable:
                why = f"its image {each.image_id} cannot be exported"
            if why is not None:
                lost[each.key] = Problem(about, each.key, why)
            else:
                self.names[each.key] = each.image_id
        self.ids = {hex_part(x): x for x in self._images if x not in unusable}
        parents = {self._images[image_id].parent for image_id in self.ids.values()}
        self.main = {*self.ids.values()} - parents | {*self.names.values()}
        self.lost = {hex_part(key) if is_sha256(key) else key: each for key, each in lost.items()}
        self.problems = (
            *lost.values(),
            *(Problem(x, n, why) for (x, n), why in faults.items() if x is Subject.ROOT),
        )

    def layers(self, handles: Set[str]) -> list[Layer]:
        found: dict[str, Layer] = {}
        for handle in sorted(handles):
            below: StoredLayer | None = None
            for chain in chains_of(self._images[handle].diff_ids):
                layer = self._layers[chain]
                found.setdefault(
                    layer.diff,
                    Layer(
                        key=layer.diff,
                        directory=layer.cache_id,
                        below=None if below is None else below.cache_id,
                        record=self._root / layer.record,
                        size=layer.size,
                        diff_id=layer.diff,
                    ),
                )
                below = layer
        return list(found.values())

    def images(self, handles: Set[str], layers: Layers) -> tuple[list[Image], list[Problem]]:
        images: list[Image] = []
        problems = [
            Problem(Subject.LAYER, diff_id, str(error), error.hint)
            for diff_id, error in sorted(layers.failed.items())
        ]
        problems += [
            Problem(
                Subject.LAYER,
                diff_id,
                f"its tar-split record was of no use ({layer.hashed.fault}), but its diff could be"
                " made anew",
                fatal=False,
            )
            for diff_id, layer in sorted(layers.read.items())
            if layer.hashed.fault is not None
        ]
        names: dict[str, list[str]] = {}
        for key, image_id in self.names.items():
            if "@" not in key:
                names.setdefault(image_id, []).append(key)
        with RootFiles(self._root) as files:
            for image_id in sorted(handles):
                diff_ids = self._images[image_id].diff_ids
                failed = next((each for each in diff_ids if each in layers.failed), None)
                if failed is not None:
                    reason = f"its layer {failed} cannot be read"
                    problems.append(Problem(Subject.IMAGE, image_id, reason))
                    continue
                try:
                    config = read_config(files, self._driver, image_id)
                except FormatError as error:
                    problems.append(Problem(Subject.IMAGE, image_id, error.message))
                    continue
                images.append(
                    Image(
                        image_id,
                        config,
                        diff_ids,
                        tuple(sorted(names.get(image_id, ()))),
                        self._images[image_id].parent,
                    )
                )
        return images, problems
