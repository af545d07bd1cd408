"""The spans of the values in a JSON text, checked against the grammar on the way.

The grammar is that of Go 1.5 encoding/json/scanner.go: RFC 7159 with any bytes from
0x20 up allowed in a string, valid UTF-8 or not. Nothing here recurses, and the time
taken is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from migrator.errors import FormatError
from migrator.gojson.strings import unquote

MAX_DEPTH = 10_000
"""Containers that may lie in one another. Go 1.5 sets no limit, Go 1.15 and later this one."""

# Bytes that are small enough to have a tree of all values made, for nothing but the check.
_SMALL = 64 << 10

_SPACES = b" \t\r\n"
_SPACE = rb"[ \t\r\n]*"
# The repetitions are bounded because `re` keeps a frame for each round of a group.
_TEXT = rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*){0,100}'
_STRING = rb'"' + _TEXT + rb'"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SCALAR = rb"(?:" + rb"|".join((_STRING, _NUMBER, rb"true|false|null")) + rb")"
_COLON = _SPACE + rb":" + _SPACE
_COMMA = _SPACE + rb"," + _SPACE

_space = re.compile(_SPACE)
_text = re.compile(_TEXT)
_string = re.compile(_STRING)
_scalar = re.compile(_SCALAR)
_colon = re.compile(_COLON)
_scalar_elements = re.compile(rb"(?:" + _SCALAR + _COMMA + rb"){0,200}")
_scalar_members = re.compile(rb"(?:" + _STRING + _COLON + _SCALAR + _COMMA + rb"){0,200}")

# What most members are, at once.
_scalar_member = re.compile(rb"(" + _STRING + rb")" + _COLON + rb"(" + _SCALAR + rb")")
_comma_and_key = re.compile(_COMMA + rb'(?=")')

_CLOSER = {b"{": b"}", b"[": b"]"}


class GoJSONError(FormatError):
    """A text that Go's encoding/json refuses; `offset` is the byte where that shows."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.offset = offset


def check(raw: bytes) -> tuple[int, int]:
    """The span of the one value that `raw` holds, like Go's checkValid.

    Raises GoJSONError if there is none, or more than white space after it.
    """
    start = space_end(raw, 0)
    if _is_strict_json(raw):
        return start, len(raw.rstrip(_SPACES))
    end = value_end(raw, start)
    rest = space_end(raw, end)
    if rest != len(raw):
        raise GoJSONError("unexpected data after the JSON value", rest)
    return start, end


def space_end(raw: bytes, at: int) -> int:
    """The offset of the first byte from `at` on that is no white space."""
    return _end(_space, raw, at)


def value_end(raw: bytes, at: int) -> int:
    """The end of the value that begins exactly at `at`; raises GoJSONError if none does."""
    closers: list[bytes] = []
    while True:
        closer = _CLOSER.get(raw[at : at + 1])
        if closer is None:
            end = _scalar_end(raw, at)
        else:
            if len(closers) == MAX_DEPTH:
                raise GoJSONError(f"JSON nested deeper than {MAX_DEPTH} levels", at)
            at = space_end(raw, at + 1)
            if raw[at : at + 1] != closer:
                closers.append(closer)
                at = _skip_scalars(raw, at, closer)
                continue
            end = at + 1
        while closers:
            at = space_end(raw, end)
            following = raw[at : at + 1]
            if following == b",":
                at = _skip_scalars(raw, space_end(raw, at + 1), closers[-1])
                break
            if following != closers[-1]:
                raise GoJSONError(f"expected ',' or '{closers[-1].decode()}'", at)
            closers.pop()
            end = at + 1
        else:
            return end


def string_end(raw: bytes, at: int) -> int:
    """The end of the string literal that begins at `at`; raises GoJSONError if none does."""
    if match := _string.match(raw, at):
        return match.end()
    if raw[at : at + 1] != b'"':
        raise GoJSONError("expected a string", at)
    at += 1
    while (end := _end(_text, raw, at)) > at:
        at = end
    if raw[at : at + 1] != b'"':
        raise GoJSONError("bad escape, control character or end inside a string", at)
    return at + 1


def elements(raw: bytes, at: int) -> Iterator[tuple[int, int]]:
    """The spans of the elements of the array that begins at `at`."""
    at = space_end(raw, at + 1)
    while raw[at : at + 1] != b"]":
        end = value_end(raw, at)
        yield at, end
        at = _next(raw, end, b"]")


def members(raw: bytes, at: int) -> Iterator[tuple[str, int, int]]:
    """Key and span of the value, for each member of the object that begins at `at`."""
    at = space_end(raw, at + 1)
    while raw[at : at + 1] != b"}":
        if match := _scalar_member.match(raw, at):
            key_end, (start, end) = match.end(1), match.span(2)
        else:
            key_end = string_end(raw, at)
            start = _value_after_key(raw, key_end)
            end = value_end(raw, start)
        yield unquote(raw[at:key_end]), start, end
        following = _comma_and_key.match(raw, end)
        at = following.end() if following else _next(raw, end, b"}")


def _is_strict_json(raw: bytes) -> bool:
    """Whether orjson takes it, which is quickly found out: then Go takes it, too.

    What it refuses (bytes that are not UTF-8, lone surrogates, deep nesting) Go may take.
    """
    if len(raw) > _SMALL:
        return False
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def _end(pattern: re.Pattern[bytes], raw: bytes, at: int) -> int:
    match = pattern.match(raw, at)
    return match.end() if match else at


def _scalar_end(raw: bytes, at: int) -> int:
    if match := _scalar.match(raw, at):
        return match.end()
    if raw[at : at + 1] == b'"':
        return string_end(raw, at)
    raise GoJSONError("expected a JSON value", at)


def _skip_scalars(raw: bytes, at: int, closer: bytes) -> int:
    """The start of a value at or behind `at`, where an element or a member begins."""
    if closer == b"]":
        return _end(_scalar_elements, raw, at)
    return _value_after_key(raw, string_end(raw, _end(_scalar_members, raw, at)))


def _value_after_key(raw: bytes, key_end: int) -> int:
    match = _colon.match(raw, key_end)
    if match is None:
        raise GoJSONError("expected ':'", key_end)
    return match.end()


def _next(raw: bytes, end: int, closer: bytes) -> int:
    """Where the next element or member begins, or where the container closes."""
    at = space_end(raw, end)
    if raw[at : at + 1] == closer:
        return at
    if raw[at : at + 1] != b",":
        raise GoJSONError(f"expected ',' or '{closer.decode()}'", at)
    at = space_end(raw, at + 1)
    if raw[at : at + 1] == closer:
        raise GoJSONError("unexpected ',' at the end", at)
    return at
