"""The IDs that a legacy store's images get: from v1 jsons and diffIDs, with nothing written.

Docker 1.10 `migrate/v1/migratev1.go` and `image/store.go`: a layer's chainID comes of
the diffIDs up to it, an image's ID of its config, which has these and its history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import orjson

from migrator import gojson
from migrator.errors import FormatError, LayerError, MigratorError, Problem, Subject
from migrator.layer.identity import chain_id, chain_of, is_sha256, sha256_digest
from migrator.legacy.graph import LegacyImage
from migrator.store import imageconfig
from migrator.text import shown


@dataclass(frozen=True, slots=True)
class Stack:
    """An image's layers: their diffIDs, bottom first, and the chainIDs of all and of all but one.

    `below` is None for a single layer.
    """

    diff_ids: tuple[str, ...]
    chain: str
    below: str | None

    @classmethod
    def on(cls, parent: Stack | None, diff_id: str) -> Stack:
        """The stack of a parent (None: of none) and one layer more."""
        if parent is None:
            return cls((diff_id,), chain_id(None, diff_id), None)
        return cls((*parent.diff_ids, diff_id), chain_id(parent.chain, diff_id), parent.chain)


@dataclass(frozen=True, slots=True)
class Identity:
    """What an image is in the new store: its ID, which is its config's digest, and its layers."""

    image_id: str
    config: bytes
    stack: Stack
    history: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Identified:
    """An image with its identity and its parent's; without one, the problem that is in the way.

    The layers may be known all the same: `stack` is None if they are not.
    """

    image: LegacyImage
    stack: Stack | None = None
    identity: Identity | None = None
    parent: Identity | None = None
    problem: Problem | None = None


def identify(
    images: Iterable[LegacyImage],
    diff_ids: Mapping[str, str],
    failed: Mapping[str, MigratorError],
    before: Callable[[LegacyImage], Identity | None] = lambda _: None,
) -> Iterator[Identified]:
    """Identify images, parents first, by the diffIDs of their layers (by v1 ID).

    `failed` says of the other layers why they have none. `before` gives the identity of
    an image that was migrated already, None for another one; it may raise FormatError.
    """
    done: dict[str, Identity] = {}
    lost: dict[str, str] = {}
    for image in images:
        stack = None
        parent = done.get(image.parent or "")
        try:
            identity = before(image)
            if identity is None:
                if image.parent in lost:
                    lost[image.v1_id] = culprit = lost[image.parent]
                    yield Identified(image, problem=builds_on(image.v1_id, culprit))
                    continue
                stack = Stack.on(
                    parent.stack if parent else None, _diff_id(image.v1_id, diff_ids, failed)
                )
                identity = _identity(image, stack, parent)
        except (LayerError, FormatError) as error:
            lost[image.v1_id] = image.v1_id
            about = Subject.LAYER if isinstance(error, LayerError) else Subject.IMAGE
            problem = Problem(about, image.v1_id, shown(str(error)), error.hint)
            yield Identified(image, stack, problem=problem)
            continue
        done[image.v1_id] = identity
        yield Identified(image, identity.stack, identity, parent)


def identity_of(config: bytes, image_id: str, path: str) -> Identity:
    """The identity of an image that is there, from its config at `path`. Raises FormatError."""
    try:
        diff_ids = tuple(orjson.loads(gojson.members(config)["rootfs"])["diff_ids"])
    except (KeyError, TypeError, orjson.JSONDecodeError):
        diff_ids = ()
    if not all(isinstance(diff_id, str) and is_sha256(diff_id) for diff_id in diff_ids):
        diff_ids = ()
    chain = chain_of(diff_ids)
    if chain is None:
        raise FormatError("no config of an image with layers", subject=path)
    stack = Stack(diff_ids, chain, chain_of(diff_ids[:-1]))
    return Identity(image_id, config, stack, imageconfig.inherited_history(config))


def builds_on(v1_id: str, culprit: str) -> Problem:
    """Why an image is left out that builds on another one which is."""
    reason = f"it builds on {culprit}, which could not be migrated"
    return Problem(Subject.IMAGE, v1_id, reason)


def _diff_id(v1_id: str, diff_ids: Mapping[str, str], failed: Mapping[str, MigratorError]) -> str:
    if (failure := failed.get(v1_id)) is not None:
        raise LayerError(failure.message, subject=failure.subject, hint=failure.hint)
    return diff_ids[v1_id]


def _identity(image: LegacyImage, stack: Stack, parent: Identity | None) -> Identity:
    history = (*(parent.history if parent else ()), imageconfig.history_entry(image.json))
    config = imageconfig.make_config(image.json, stack.diff_ids, history)
    return Identity(sha256_digest(config), config, stack, history)
