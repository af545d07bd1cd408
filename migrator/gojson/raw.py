"""Values that are carried over as they were written (Go's json.RawMessage)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from migrator.gojson import scan
from migrator.gojson.strings import quote

_html = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")
_HTML = {
    b"<": rb"\u003c",
    b">": rb"\u003e",
    b"&": rb"\u0026",
    b"\xe2\x80\xa8": rb"\u2028",
    b"\xe2\x80\xa9": rb"\u2029",
}


def members(raw: bytes) -> dict[str, bytes]:
    """The members of an object, like Unmarshal into a map[string]*json.RawMessage.

    Keys are decoded, values are the bytes as written without the white space around
    them; of equal keys the last one counts. `null` is an object without members.
    Raises GoJSONError for anything else.
    """
    start, end = scan.check(raw)
    if raw[start:end] == b"null":
        return {}
    if raw[start : start + 1] != b"{":
        raise scan.GoJSONError("expected an object", start)
    return {key: raw[at:to] for key, at, to in scan.members(raw, start)}


def compact(raw: bytes) -> bytes:
    """`raw` as Marshal writes a RawMessage (Go 1.5 encoding/json/indent.go, compact).

    White space between tokens goes, `<`, `>`, `&`, U+2028 and U+2029 are escaped, and
    every other byte stays. Raises GoJSONError if `raw` is no JSON.
    """
    scan.check(raw)
    written = bytearray()
    at = 0
    while (opening := raw.find(b'"', at)) >= 0:
        closing = scan.string_end(raw, opening)
        written += raw[at:opening].translate(None, b" \t\r\n")
        written += raw[opening:closing]
        at = closing
    written += raw[at:].translate(None, b" \t\r\n")
    return _html.sub(lambda match: _HTML[match.group()], written)


def encode_object(
    values: Mapping[str, bytes],
    *,
    sort: bool = True,
    written: Mapping[str, bytes] = MappingProxyType({}),
) -> bytes:
    """An object of these raw values, compacted; keys in the order of their UTF-8 bytes.

    `sort=False` keeps the order of `values`. `written` are values that Marshal's writing is
    past already, and that stand in place of those of the same keys. Raises GoJSONError for
    a value that is no JSON.
    """
    compacted = {key: compact(value) for key, value in values.items() if key not in written}
    compacted |= written
    # Python compares text by code point, and UTF-8 bytes have the same order.
    keys = sorted(compacted) if sort else compacted
    return b"{" + b",".join(quote(key) + b":" + compacted[key] for key in keys) + b"}"
