"""Images of a store that nobody migrated: what a migration would make of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Set

from migrator.errors import Problem, Subject
from migrator.export.layers import Layer, Layers
from migrator.export.naming import key_of
from migrator.export.source import Image, Source
from migrator.layer.identity import hex_part, is_v1_id
from migrator.legacy.containers import LegacyContainer
from migrator.legacy.linkgraph import Link
from migrator.legacy.root import LegacyRoot
from migrator.migration.hashing import record_faults
from migrator.migration.identify import Identified, identify
from migrator.migration.plan import Plan


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
        problems = record_faults({key: layer.hashed for key, layer in layers.read.items()})
        images: dict[str, Image] = {}
        ids: dict[str, str] = {}
        # The last parent counts, as it does in a store that is written.
        parents: dict[str, str] = {}
        for each in self._identified(self._with_ancestors(handles), layers):
            if each.problem is not None:
                problems.append(each.problem)
            if each.identity is None:
                continue
            image_id = ids[each.image.v1_id] = each.identity.image_id
            if each.parent is not None:
                parents[image_id] = each.parent.image_id
            # Several v1 images may have become one.
            if each.image.v1_id in handles and image_id not in images:
                diff_ids = each.identity.stack.diff_ids
                images[image_id] = Image(image_id, each.identity.config, diff_ids, (), None)
        names, unnamed = self._named(handles, ids)
        found = [
            dataclasses.replace(
                image, names=tuple(names.get(image_id, ())), parent=parents.get(image_id)
            )
            for image_id, image in images.items()
        ]
        return found, [*problems, *unnamed]

    def identified(self, layers: Layers) -> None:
        """Know the images by image ID, too, all layers having been read."""
        every = self._identified({*self._parents}, layers)
        ids = {hex_part(x.identity.image_id): x.image.v1_id for x in every if x.identity}
        self.ids = {**ids, **self.ids}

    def _identified(self, wanted: Set[str], layers: Layers) -> Iterator[Identified]:
        """All is made anew, so that nothing depends on what else the data root holds."""
        diff_ids = {key: layer.diff_id for key, layer in layers.read.items()}
        images = (image for image in self._plan.images if image.v1_id in wanted)
        return identify(images, diff_ids, layers.failed)

    def _named(
        self, handles: Set[str], ids: Mapping[str, str]
    ) -> tuple[dict[str, list[str]], list[Problem]]:
        """The sorted names of the chosen images, by image ID, as the migration gives them."""
        given: dict[str, str] = {}
        problems: list[Problem] = []
        for each in self._plan.references:
            # A name that the migration gives to another image is none of these.
            if each.v1_id not in handles or self.names[each.key] not in handles:
                continue
            image_id = ids.get(each.v1_id)
            if image_id is None:
                reason = f"its image {each.v1_id} could not be migrated"
                problems.append(Problem(Subject.TAG, each.shown, reason))
            elif (other := given.setdefault(each.key, image_id)) != image_id:
                reason = f"it exists already and is another image, {other}"
                problems.append(Problem(Subject.TAG, each.shown, reason))
        names: dict[str, list[str]] = {}
        for key, image_id in sorted(given.items()):
            if "@" not in key:
                names.setdefault(image_id, []).append(key)
        return names, problems

    def _with_ancestors(self, handles: Set[str]) -> set[str]:
        wanted: set[str] = set()
        for handle in handles:
            at: str | None = handle
            while at is not None and at not in wanted:
                wanted.add(at)
                at = self._parents[at]
        return wanted
