"""Which images of a legacy store can be migrated, and why others cannot."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from migrator.drivers import Driver
from migrator.errors import Problem, Subject
from migrator.legacy.graph import Graph, LegacyImage
from migrator.text import shown


class Lineage:
    """The images of a graph in Docker's order, and why others cannot be migrated.

    `usable` are those of which every layer has a directory, or was `migrated`;
    `most` is how many layers an image may have; `before` are v1 IDs that were
    migrated once.
    """

    def __init__(
        self,
        driver: Driver,
        graph: Graph,
        most: int,
        migrated: Container[str],
        before: Container[str],
    ) -> None:
        self.usable: list[LegacyImage] = []
        self.problems: list[Problem] = []
        self._graph = graph
        self._migrated = migrated
        # Images that are lost, by the one whose layer it is; and those that were removed.
        self._lost: dict[str, str] = {}
        self._removed: set[str] = set()
        depths: dict[str | None, int] = {None: 0}
        for v1_id in graph.order():
            image = graph.images[v1_id]
            if v1_id not in migrated and image.parent in self._lost:
                self._lose(image, self._lost[image.parent], v1_id in before)
                continue
            depths[v1_id] = depths.get(image.parent, 0) + 1
            if depths[v1_id] > most:
                reason = f"it has more than {most} layers, and the new store takes no more"
            elif v1_id not in migrated and not driver.layer_exists(v1_id):
                reason = f"its directory {driver.shown(v1_id)} is missing"
                if v1_id in before:
                    self._lose(image, v1_id, True)
                    continue
            else:
                self.usable.append(image)
                continue
            self._lost[v1_id] = v1_id
            self.problems.append(Problem(Subject.LAYER, v1_id, reason))
        self._known = {image.v1_id for image in self.usable}

    def _lose(self, image: LegacyImage, culprit: str, was_migrated: bool) -> None:
        self._lost[image.v1_id] = culprit
        if was_migrated:
            # Docker >= 1.10 removes the directory with the image.
            self._removed.add(image.v1_id)
            reason = "it was migrated before, and has been removed since"
            self.problems.append(Problem(Subject.IMAGE, image.v1_id, reason, fatal=False))
        else:
            reason = f"it builds on {culprit}, whose layer cannot be used"
            self.problems.append(Problem(Subject.IMAGE, image.v1_id, reason))

    def has(self, v1_id: str) -> bool:
        """Whether an image can be, or was, migrated."""
        return v1_id in self._known or v1_id in self._migrated

    def orphans(self, subject: Subject, things: Iterable[tuple[str, str]]) -> Iterator[Problem]:
        """Problems of the things, given with the v1 ID of their image, whose image is lost."""
        for name, v1_id in things:
            if self.has(v1_id) or v1_id in self._removed:
                continue
            if v1_id in self._graph.images:
                yield Problem(subject, name, f"its image {v1_id} cannot be migrated")
            else:
                yield Problem(subject, name, f"its image {shown(v1_id)} is not there")
