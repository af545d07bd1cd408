"""What an export takes its images from, whatever kind of store it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, replace

from migrator.errors import Problem, Subject
from migrator.export.layers import Layer, Layers


@dataclass(frozen=True, slots=True)
class Image:
    """An image to export. `config` is what `image_id` is the digest of.

    `diff_ids` bottom first; `names` are `NAME:TAG` as Docker shows them, without
    `docker.io/library/`; `parent` is the ID of the image that it was made from.
    """

    image_id: str
    config: bytes
    diff_ids: tuple[str, ...]
    names: tuple[str, ...] = ()
    parent: str | None = None


class Source(ABC):
    """The images of one store, each under a handle: whatever the store calls it.

    `names` maps `NAME:TAG` and `NAME@DIGEST`, `ids` the hex digits of IDs to
    handles; `main` are the images that a user sees: those that have a name, or
    that no other image builds on. `lost` are the problems of names and IDs that
    the store knows, but cannot be exported; `problems` are all that there are.
    """

    names: Mapping[str, str]
    ids: Mapping[str, str]
    main: Set[str]
    lost: Mapping[str, Problem]
    problems: tuple[Problem, ...]

    @property
    def all(self) -> Collection[str]:
        """The handles of all images."""
        return set(self.ids.values())

    @abstractmethod
    def layers(self, handles: Set[str]) -> list[Layer]:
        """The layers of these images, each once."""

    @abstractmethod
    def images(self, handles: Set[str], layers: Layers) -> tuple[list[Image], list[Problem]]:
        """These images, all layers having been read or failed; and why some are not among them."""


def collect(
    chosen: Iterable[tuple[Source, Set[str]]], layers: Layers
) -> tuple[list[Image], list[Problem]]:
    """The chosen images of several stores in one data root, each once, sorted by name.

    Of two images with one name the first store's has it.
    """
    found: dict[str, Image] = {}
    problems: list[Problem] = []
    taken: dict[str, str] = {}
    for source, handles in chosen:
        images, lost = source.images(handles, layers)
        problems += lost
        for image in images:
            names = set()
            for name in image.names:
                if (owner := taken.get(name, image.image_id)) == image.image_id:
                    names.add(name)
                else:
                    reason = f"it exists already and is another image, {owner}"
                    problems.append(Problem(Subject.TAG, name, reason))
            if (known := found.get(image.image_id)) is not None:
                names.update(known.names)
            found[image.image_id] = replace(known or image, names=tuple(sorted(names)))
        taken = {**source.names, **taken}
    return sorted(found.values(), key=lambda image: (image.names, image.image_id)), problems
