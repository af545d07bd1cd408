"""Go structs with JSON tags, as frozen dataclasses whose fields are declared by `member`."""

from __future__ import annotations

import string
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypeVar, cast

from migrator.gojson import scan
from migrator.gojson.kinds import Kind, T
from migrator.gojson.strings import quote

R = TypeVar("R")

# Go 1.5 encoding/json/fold.go: ASCII letters, and the two others that fold into ASCII.
_FOLD = str.maketrans(
    string.ascii_uppercase + "\N{LATIN SMALL LETTER LONG S}\N{KELVIN SIGN}",
    string.ascii_lowercase + "sk",
)


@dataclass(frozen=True, slots=True)
class _Tag(Generic[T]):
    kind: Kind[T]
    key: str
    omitempty: bool


def member(kind: Kind[T], key: str, *, omitempty: bool = False) -> T:
    """A field of a struct: its Go type, its JSON key, and whether it is left out when empty."""
    tag = _Tag(kind, key, omitempty)
    return field(default_factory=kind.zero, metadata={"json": tag})


def fold(key: str) -> str:
    """Two keys name the same field of a struct if this is the same for both."""
    return key.translate(_FOLD)


class Struct(Kind[R]):
    """The struct that a dataclass declares; null changes nothing, unknown keys are ignored."""

    name = "an object"

    def __init__(self, record: type[R]) -> None:
        self.record = record
        self._tags: dict[str, _Tag[Any]] = {
            entry.name: entry.metadata["json"] for entry in fields(cast(Any, record))
        }
        self._exact = {tag.key: name for name, tag in self._tags.items()}
        self._folded = {fold(tag.key): name for name, tag in self._tags.items()}

    def zero(self) -> R:
        return self.record()

    def read(self, raw: bytes, start: int, end: int, old: R) -> R:
        if raw[start:end] == b"null":
            return old
        if raw[start : start + 1] != b"{":
            raise self.mismatch(start)
        read: dict[str, Any] = {}
        for key, at, to in scan.members(raw, start):
            if name := self._exact.get(key) or self._folded.get(fold(key)):
                before = read[name] if name in read else getattr(old, name)
                read[name] = self._tags[name].kind.read(raw, at, to, before)
        return cast(R, replace(cast(Any, old), **read))

    def write(self, value: R) -> bytes:
        pairs = []
        for name, tag in self._tags.items():
            content = getattr(value, name)
            if content or not tag.omitempty:
                pairs.append(quote(tag.key) + b":" + tag.kind.write(content))
        return b"{" + b",".join(pairs) + b"}"
