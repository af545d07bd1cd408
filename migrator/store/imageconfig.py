"""The config of a migrated image, made from its v1 json as Docker 1.10.3 makes it.

Docker: image/v1/imagev1.go (HistoryFromConfig, MakeConfigFromV1Config), image/image.go,
image/store.go (Create), pkg/version. An image whose
json raises FormatError in any of these functions is one that Docker does not migrate.
"""

# ruff: noqa: RUF009 (`member` makes a dataclasses.field, nothing is shared)

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from migrator import gojson
from migrator.errors import FormatError
from migrator.gojson import BOOL, STRING, STRINGS, TIME, Struct, member
from migrator.legacy.v1image import V1_IMAGE, V1Image

_DROPPED = ("id", "parent", "Size", "parent_id", "layer_id", "throwaway")
_KEPT_AS_WRITTEN_FROM = "1.8.3"

# An image repeats the history of all its ancestors, so a few large ones could fill any disk.
_MAX_CONFIG = 16 << 20

_atoi = re.compile(r"([+-]?)0*([0-9]+)")


@dataclass(frozen=True, slots=True)
class _Version:
    docker_version: str = member(STRING, "docker_version")


_VERSION = Struct(_Version)


@dataclass(frozen=True, slots=True)
class _History:
    created: gojson.GoTime = member(TIME, "created")
    author: str = member(STRING, "author", omitempty=True)
    created_by: str = member(STRING, "created_by", omitempty=True)
    comment: str = member(STRING, "comment", omitempty=True)
    empty_layer: bool = member(BOOL, "empty_layer", omitempty=True)


@dataclass(frozen=True, slots=True)
class _RootFS:
    type: str = member(STRING, "type")
    diff_ids: tuple[str, ...] | None = member(STRINGS, "diff_ids", omitempty=True)


_HISTORY = Struct(_History)
_ROOTFS = Struct(_RootFS)


@dataclass(frozen=True, slots=True)
class _Image(V1Image):
    rootfs: _RootFS | None = member(gojson.Pointer(_ROOTFS), "rootfs")
    history: tuple[_History, ...] | None = member(gojson.SliceOf(_HISTORY), "history")


_IMAGE = Struct(_Image)


def history_entry(raw: bytes) -> bytes:
    """The history object that stands for the image with this v1 json.

    Raises FormatError.
    """
    image = gojson.decode(raw, V1_IMAGE)
    entry = _History(
        created=image.created,
        author=image.author,
        created_by=" ".join(image.container_config.cmd or ()),
        comment=image.comment,
    )
    written = _HISTORY.write(entry)
    # As Docker does when it stores the config: not every offset that was read can be read again.
    gojson.decode(written, _HISTORY)
    return written


def make_config(raw: bytes, diff_ids: Sequence[str], history: Sequence[bytes]) -> bytes:
    """The config of the image with this v1 json; the image ID is its SHA-256.

    `diff_ids` (`sha256:...`) and `history` (as from `history_entry`) are those of all its
    layers, bottom first, its own included. Raises FormatError.
    """
    if len(raw) + sum(map(len, history)) > _MAX_CONFIG:
        raise FormatError(f"its config would have more than {_MAX_CONFIG} bytes")
    if _older(gojson.decode(raw, _VERSION).docker_version, _KEPT_AS_WRITTEN_FROM):
        raw = V1_IMAGE.write(gojson.decode(raw, V1_IMAGE))
    values = gojson.members(raw)
    for key in _DROPPED:
        values.pop(key, None)
    added = {
        "rootfs": _ROOTFS.write(_RootFS("layers", tuple(diff_ids))),
        "history": b"[" + b",".join(history) + b"]",
    }
    config = gojson.encode_object(values, written=added)
    if any(gojson.fold(key) in added and key not in added for key in values):
        _check_created(config, diff_ids)
    else:
        # The rest of that check; what was added is sound, and in time it would be most of it.
        gojson.decode(gojson.encode_object(values, written=dict.fromkeys(added, b"null")), V1_IMAGE)
    return config


def inherited_history(config: bytes) -> tuple[bytes, ...]:
    """The history that an image made on top of the one with this config begins with.

    It differs from what `make_config` was given only if the v1 json has keys that equal
    `history` but for case. Raises FormatError.
    """
    return tuple(map(_HISTORY.write, gojson.decode(config, _IMAGE).history or ()))


def _check_created(config: bytes, diff_ids: Sequence[str]) -> None:
    """What Docker checks as it stores a config; keys kept from the v1 json can break it."""
    image = gojson.decode(config, _IMAGE)
    if image.rootfs is None or image.rootfs.diff_ids != tuple(diff_ids):
        raise FormatError("a key that reads as 'rootfs' hides the image's layers")
    if sum(not entry.empty_layer for entry in image.history or ()) > len(diff_ids):
        raise FormatError("a key that reads as 'history' names more layers than there are")


def _older(version: str, other: str) -> bool:
    """Docker's pkg/version LessThan: numbers between dots, missing ones count as 0."""
    for part, other_part in zip_longest(version.split("."), other.split("."), fillvalue="0"):
        if (number := _number(part)) != (other_number := _number(other_part)):
            return number < other_number
    return False


def _number(text: str) -> int:
    """strconv.Atoi without its error: 0 if it is no number, the nearest int64 if out of range."""
    match = _atoi.match(text)
    if match is None:
        return 0
    sign, digits = match.groups()
    # Atoi stops at the digit where 64 bits overflow and does not see what follows.
    value = int(digits[:20])
    if value < 2**64 and match.end() != len(text):
        return 0
    return max(-value, -(2**63)) if sign == "-" else min(value, 2**63 - 1)
