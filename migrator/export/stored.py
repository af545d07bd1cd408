"""Images of a content-addressed store (Docker >= 1.10), Docker's own or a migrated one."""

from __future__ import annotations

from collections.abc import Set

from migrator.drivers import Driver
from migrator.errors import AS_ROOT, DataRootError, FormatError, Problem, Subject
from migrator.export.layers import Layer, Layers
from migrator.export.source import Image, Source
from migrator.layer.identity import chain_id, hex_part, is_sha256, sha256_digest
from migrator.system.files import refuse_closed
from migrator.system.rootfiles import RootFiles, json_object
from migrator.verification.findings import Findings
from migrator.verification.images import read_images
from migrator.verification.layers import StoredLayer, read_layers
from migrator.verification.references import check_references


class StoredSource(Source):
    """The images of a content-addressed store by image ID.

    Raises DataRootError when the data root, PermissionDenied when its layers
    cannot be read.
    """

    def __init__(self, driver: Driver) -> None:
        refuse_closed(driver.directory)
        self._root = driver.data_root
        self._base = f"image/{driver.name}"
        findings = Findings()
        with RootFiles(self._root) as files:
            store = read_layers(files, driver, findings)
            images = read_images(files, driver.name, store, findings)
            check_references(files, driver.name, images, findings)
            keys = self._keys(files)
            self._parents = {each: self._parent(files, each) for each in images.images}
            for path, reason in files.unreadable.items():
                raise DataRootError(reason, subject=str(self._root / path), hint=AS_ROOT)
        self._layers: dict[str, StoredLayer] = store.layers
        self._diff_ids = {image_id: image.diff_ids for image_id, image in images.images.items()}
        faults: dict[tuple[Subject, str], str] = {}
        for finding in findings:
            faults.setdefault((finding.about, finding.name), finding.reason)
        lost = {
            image_id: Problem(Subject.IMAGE, image_id, faults[Subject.IMAGE, image_id])
            for image_id in images.present.difference(images.images)
        }
        for image_id, diff_ids in self._diff_ids.items():
            missing = [chain for chain in _chains(diff_ids) if chain not in store.layers]
            if missing:
                fault = faults.get((Subject.LAYER, missing[0]), "it is not there")
                reason = f"its layer {missing[0]} cannot be used: {fault}"
                lost[image_id] = Problem(Subject.IMAGE, image_id, reason)
        bad = {name: reason for (about, name), reason in faults.items() if about is Subject.TAG}
        self.names = {}
        for key, (repository, image_id) in keys.items():
            if (why := bad.get(key) or bad.get(repository)) is not None:
                lost[key] = Problem(Subject.TAG, key, why)
            elif image_id in lost:
                lost[key] = Problem(Subject.TAG, key, f"its image {image_id} cannot be exported")
            else:
                self.names[key] = image_id
        self.ids = {hex_part(each): each for each in self._diff_ids if each not in lost}
        parents = {self._parents[image_id] for image_id in self.ids.values()}
        self.main = {*self.ids.values()} - parents | {*self.names.values()}
        self.lost = {hex_part(key) if is_sha256(key) else key: each for key, each in lost.items()}
        self.problems = (
            *lost.values(),
            *(Problem(about, n, why) for (about, n), why in faults.items() if about == "data root"),
        )

    def layers(self, handles: Set[str]) -> list[Layer]:
        found: dict[str, Layer] = {}
        for handle in sorted(handles):
            below: StoredLayer | None = None
            for chain in _chains(self._diff_ids[handle]):
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
                diff_ids = self._diff_ids[image_id]
                failed = next((each for each in diff_ids if each in layers.failed), None)
                if failed is not None:
                    reason = f"its layer {failed} cannot be read"
                    problems.append(Problem(Subject.IMAGE, image_id, reason))
                    continue
                try:
                    config = self._config(files, image_id)
                except FormatError as error:
                    problems.append(Problem(Subject.IMAGE, image_id, error.message))
                    continue
                images.append(
                    Image(
                        image_id,
                        config,
                        diff_ids,
                        tuple(sorted(names.get(image_id, ()))),
                        self._parents[image_id],
                    )
                )
        return images, problems

    def _config(self, files: RootFiles, image_id: str) -> bytes:
        config = files.read(f"{self._base}/imagedb/content/sha256/{hex_part(image_id)}")
        if sha256_digest(config) != image_id:
            raise FormatError("its config was changed meanwhile")
        return config

    def _keys(self, files: RootFiles) -> dict[str, tuple[str, str]]:
        """All references in repositories.json, with repository and image ID."""
        try:
            repositories = json_object(files.read(f"{self._base}/repositories.json"))
        except FormatError:
            return {}
        named = repositories.get("Repositories")
        return {
            key: (repository, image_id)
            for repository, keys in (named.items() if isinstance(named, dict) else ())
            if isinstance(keys, dict)
            for key, image_id in keys.items()
            if isinstance(image_id, str)
        }

    def _parent(self, files: RootFiles, image_id: str) -> str | None:
        path = f"{self._base}/imagedb/metadata/sha256/{hex_part(image_id)}/parent"
        try:
            parent = files.read(path).decode("utf-8", "replace")
        except FormatError:
            return None
        return parent if is_sha256(parent) else None


def _chains(diff_ids: tuple[str, ...]) -> list[str]:
    chains: list[str] = []
    for diff_id in diff_ids:
        chains.append(chain_id(chains[-1] if chains else None, diff_id))
    return chains
