"""How a value of each Go type is read from JSON and written to it.

Structs have a file of their own, `structs`.

The rules are those of Unmarshal and Marshal in Go 1.5 (encoding/json/decode.go and
encode.go). A key that appears twice in an object is decoded twice into the same
variable, so reading takes the value that is already there.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from migrator.errors import FormatError
from migrator.gojson import scan
from migrator.gojson.scan import GoJSONError
from migrator.gojson.strings import quote, unquote
from migrator.gojson.times import GoTime

T = TypeVar("T")

_integer = re.compile(rb"-?[0-9]{1,19}")


class Kind(ABC, Generic[T]):
    """A Go type; `name` is what an error message calls it."""

    name: str

    @abstractmethod
    def zero(self) -> T:
        """What a variable of this type holds before anything is decoded into it."""

    @abstractmethod
    def read(self, raw: bytes, start: int, end: int, old: T) -> T:
        """What a variable that holds `old` holds once the value at this span is decoded.

        The span must be that of a valid value. Raises GoJSONError on a mismatch of types.
        """

    @abstractmethod
    def write(self, value: T) -> bytes:
        """The JSON of `value`; raises FormatError if it has none."""

    def mismatch(self, start: int) -> GoJSONError:
        return GoJSONError(f"expected {self.name}", start)


class _String(Kind[str]):
    name = "a string"

    def zero(self) -> str:
        return ""

    def read(self, raw: bytes, start: int, end: int, old: str) -> str:
        if raw[start:end] == b"null":
            return old
        if raw[start : start + 1] != b'"':
            raise self.mismatch(start)
        return unquote(raw[start:end])

    def write(self, value: str) -> bytes:
        return quote(value)


class _Bool(Kind[bool]):
    name = "true or false"

    def zero(self) -> bool:
        return False

    def read(self, raw: bytes, start: int, end: int, old: bool) -> bool:
        literal = raw[start:end]
        if literal not in (b"null", b"true", b"false"):
            raise self.mismatch(start)
        return old if literal == b"null" else literal == b"true"

    def write(self, value: bool) -> bytes:
        return b"true" if value else b"false"


class _Int64(Kind[int]):
    """Whole numbers without fraction or exponent."""

    name = "a 64-bit integer"

    def zero(self) -> int:
        return 0

    def read(self, raw: bytes, start: int, end: int, old: int) -> int:
        literal = raw[start:end]
        if literal == b"null":
            return old
        if not _integer.fullmatch(literal) or not -(2**63) <= int(literal) < 2**63:
            raise self.mismatch(start)
        return int(literal)

    def write(self, value: int) -> bytes:
        return str(value).encode()


class _Time(Kind[GoTime]):
    """Go 1.5 takes no null here, and no escapes: it parses the literal, quotes and all."""

    name = "an RFC 3339 time"

    def zero(self) -> GoTime:
        return GoTime()

    def read(self, raw: bytes, start: int, end: int, old: GoTime) -> GoTime:
        if raw[start : start + 1] != b'"':
            raise self.mismatch(start)
        try:
            return GoTime.parse(raw[start + 1 : end - 1])
        except ValueError as error:
            raise self.mismatch(start) from error

    def write(self, value: GoTime) -> bytes:
        try:
            return quote(value.format())
        except ValueError as error:
            raise FormatError(f"{value} has no JSON form: {error}") from error


STRING = _String()
BOOL = _Bool()
INT64 = _Int64()
TIME = _Time()


@dataclass(frozen=True, slots=True)
class Pointer(Kind[T | None]):
    """A pointer: null clears it, anything else is decoded into what it points to."""

    to: Kind[T]

    def zero(self) -> T | None:
        return None

    def read(self, raw: bytes, start: int, end: int, old: T | None) -> T | None:
        if raw[start:end] == b"null":
            return None
        return self.to.read(raw, start, end, self.to.zero() if old is None else old)

    def write(self, value: T | None) -> bytes:
        return b"null" if value is None else self.to.write(value)


class _Elements(tuple[T, ...]):
    """A decoded slice, with the array it lies in, which may hold more behind the slice's end.

    Go decodes a repeated key into the same array, where an element null changes nothing.
    """

    array: list[T]


@dataclass(frozen=True, slots=True)
class SliceOf(Kind[tuple[T, ...] | None]):
    """A slice: nil, which null sets and which is written as null, or a tuple."""

    of: Kind[T]
    name = "a list"

    def zero(self) -> tuple[T, ...] | None:
        return None

    def read(
        self, raw: bytes, start: int, end: int, old: tuple[T, ...] | None
    ) -> tuple[T, ...] | None:
        if raw[start:end] == b"null":
            return None
        if raw[start : start + 1] != b"[":
            raise self.mismatch(start)
        # Never copied: a key can be repeated a million times.
        array = old.array if isinstance(old, _Elements) else []
        length = 0
        for at, to in scan.elements(raw, start):
            if length == len(array):
                array.append(self.of.zero())
            array[length] = self.of.read(raw, at, to, array[length])
            length += 1
        read = _Elements(islice(array, length))
        read.array = array if length else []
        return read

    def write(self, value: tuple[T, ...] | None) -> bytes:
        if value is None:
            return b"null"
        return b"[" + b",".join(map(self.of.write, value)) + b"]"


@dataclass(frozen=True, slots=True)
class MapOf(Kind[Mapping[str, T] | None]):
    """A map with string keys: nil, or a mapping that repeated keys add to; written sorted."""

    of: Kind[T]
    name = "an object"

    def zero(self) -> Mapping[str, T] | None:
        return None

    def read(
        self, raw: bytes, start: int, end: int, old: Mapping[str, T] | None
    ) -> Mapping[str, T] | None:
        if raw[start:end] == b"null":
            return None
        if raw[start : start + 1] != b"{":
            raise self.mismatch(start)
        # Added to in place, as Go does: a key can be repeated a million times.
        read = old if isinstance(old, dict) else {}
        for key, at, to in scan.members(raw, start):
            read[key] = self.of.read(raw, at, to, self.of.zero())
        return read

    def write(self, value: Mapping[str, T] | None) -> bytes:
        if value is None:
            return b"null"
        pairs = (quote(key) + b":" + self.of.write(value[key]) for key in sorted(value))
        return b"{" + b",".join(pairs) + b"}"


class _StrSlice(Kind[tuple[str, ...] | None]):
    """Docker's *strslice.StrSlice: a list of strings, or one string for a list of one."""

    name = "a string or a list of strings"

    def zero(self) -> tuple[str, ...] | None:
        return None

    def read(
        self, raw: bytes, start: int, end: int, old: tuple[str, ...] | None
    ) -> tuple[str, ...] | None:
        if raw[start : start + 1] == b'"':
            return (unquote(raw[start:end]),)
        try:
            return STRINGS.read(raw, start, end, None)
        except GoJSONError as error:
            raise self.mismatch(start) from error

    def write(self, value: tuple[str, ...] | None) -> bytes:
        return STRINGS.write(value)


STRINGS = SliceOf(STRING)
STR_SLICE = _StrSlice()


def decode(raw: bytes, kind: Kind[T]) -> T:
    """json.Unmarshal into a new variable.

    Raises GoJSONError if `raw` is no JSON, has more than white space after its value, or
    any value in it is not of the type that it should have.
    """
    start, end = scan.check(raw)
    return kind.read(raw, start, end, kind.zero())


def decode_first(raw: bytes, kind: Kind[T]) -> T:
    """json.NewDecoder(...).Decode into a new variable: what follows the value is not looked at.

    Raises GoJSONError like `decode`.
    """
    start = scan.space_end(raw, 0)
    return kind.read(raw, start, scan.value_end(raw, start), kind.zero())
