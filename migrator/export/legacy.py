"""Images of a store that nobody migrated: what a migration would make of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from pathlib import Path

import orjson

from migrator.errors import Problem, Subject
from migrator.export.layers import Layer, Layers
from migrator.export.naming import key_of
from migrator.export.source import Image, Source
from migrator.layer.identity import hex_part
from migrator.legacy.containers import LegacyContainer
from migrator.legacy.graph import LegacyImage
from migrator.legacy.linkgraph import Link
from migrator.legacy.naming import is_v1_id
from migrator.legacy.repositories import Reference
from migrator.legacy.root import LegacyRoot
from migrator.migration.hashing import Hashed
from migrator.migration.plan import Plan
from migrator.migration.rewriting import rewrite
from migrator.report.layers import record_faults


class ImagesOnly(LegacyRoot):
    """A legacy data root whose containers are of no interest, and need not be readable."""

    @classmethod
    def of(cls, root: LegacyRoot) -> ImagesOnly:
        return cls(*(getattr(root, field.name) for field in dataclasses.fields(root)))

    def containers(self) -> tuple[list[LegacyContainer], list[Problem]]:
        return [], []

    def links(self) -> tuple[Mapping[str, list[Link]], list[Problem]]:
        return {}, []


class LegacySource(Source):
    """The images of a legacy store by v1 ID; `plan` is made of `ImagesOnly`.

    Image IDs are not known before the layers are read; `identified` tells them.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._parents = {image.v1_id: image.parent for image in plan.images}
        self.names = {each.key: each.v1_id for each in reversed(plan.references)}
        self.ids = {v1_id: v1_id for v1_id in self._parents}
        self.main = {*self.ids} - {*self._parents.values()} | {*self.names.values()}
        self.problems = plan.problems
        self.lost = {}
        for problem in self.problems:
            if problem.about is Subject.TAG:
                if (key := key_of(problem.name)) is not None:
                    self.lost.setdefault(key, problem)
            elif problem.fatal and is_v1_id(problem.name):
                self.lost.setdefault(problem.name, problem)

    def layers(self, handles: Set[str]) -> list[Layer]:
        wanted = self._with_ancestors(handles)
        return [
            Layer(image.v1_id, image.v1_id, image.parent, image.record, image.layersize or 0)
            for image in self._plan.images
            if image.v1_id in wanted
        ]

    def images(self, handles: Set[str], layers: Layers) -> tuple[list[Image], list[Problem]]:
        hashed, stage = _hashed(layers), _Memory()
        # Everything is made anew, so that nothing depends on what else the data root holds.
        plan = dataclasses.replace(
            self._plan,
            images=self._chosen(handles),
            migrated={},
            references=self._references(handles),
        )
        rewritten = rewrite(plan, hashed, stage)
        problems = [*record_faults(hashed), *rewritten.problems]
        images: list[Image] = []
        names = stage.names(plan.driver.name)
        seen: set[str] = set()
        for image in plan.images:
            image_id = rewritten.images.get(image.v1_id)
            # Several v1 images may have become one.
            if image.v1_id in handles and image_id is not None and image_id not in seen:
                seen.add(image_id)
                config, parent = stage.image(plan.driver.name, image_id)
                images.append(
                    Image(
                        image_id,
                        config,
                        self._diff_ids(image.v1_id, layers),
                        tuple(sorted(key for key, other in names.items() if other == image_id)),
                        parent,
                    )
                )
        return images, problems

    def identified(self, layers: Layers) -> None:
        """Know the images by image ID, too, all layers having been read."""
        plan = dataclasses.replace(self._plan, migrated={}, references=())
        rewritten = rewrite(plan, _hashed(layers), _Memory())
        ids = {hex_part(image_id): v1_id for v1_id, image_id in rewritten.images.items()}
        self.ids = {**ids, **self.ids}

    def _chosen(self, handles: Set[str]) -> tuple[LegacyImage, ...]:
        wanted = self._with_ancestors(handles)
        return tuple(image for image in self._plan.images if image.v1_id in wanted)

    def _with_ancestors(self, handles: Set[str]) -> set[str]:
        wanted: set[str] = set()
        for handle in handles:
            at: str | None = handle
            while at is not None and at not in wanted:
                wanted.add(at)
                at = self._parents[at]
        return wanted

    def _references(self, handles: Set[str]) -> tuple[Reference, ...]:
        """Those of the chosen images, but no name that the migration gives to another."""
        return tuple(
            each
            for each in self._plan.references
            if each.v1_id in handles and self.names[each.key] in handles
        )

    def _diff_ids(self, v1_id: str, layers: Layers) -> tuple[str, ...]:
        line = []
        at: str | None = v1_id
        while at is not None:
            line.append(layers.read[at].diff_id)
            at = self._parents[at]
        return tuple(reversed(line))


class _Memory:
    """A stage (`migrator.store.stage`) on which a store is described, not made."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def present(self, path: str) -> bool:
        return False

    def current(self, path: str) -> bytes | None:
        return None

    def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        self._files[path] = data

    def link(self, path: str, source: Path) -> None:
        """A layer's record, which an export does without."""

    def replace(self, path: str, data: bytes) -> None:
        self._files[path] = data

    def image(self, driver: str, image_id: str) -> tuple[bytes, str | None]:
        """An image's config and its parent's ID."""
        name = f"image/{driver}/imagedb/{{}}/sha256/{hex_part(image_id)}"
        parent = self._files.get(f"{name.format('metadata')}/parent")
        return self._files[name.format("content")], None if parent is None else parent.decode()

    def names(self, driver: str) -> dict[str, str]:
        """All `NAME:TAG` with their image's ID."""
        repositories = orjson.loads(self._files[f"image/{driver}/repositories.json"])
        return {
            key: image_id
            for keys in repositories["Repositories"].values()
            for key, image_id in keys.items()
            if "@" not in key
        }


def _hashed(layers: Layers) -> Hashed:
    """What the migration would know of these layers."""
    return Hashed(
        layers={key: layer.hashed for key, layer in layers.read.items()},
        records=dict.fromkeys(layers.read, Path()),
        failed=layers.failed,
    )
