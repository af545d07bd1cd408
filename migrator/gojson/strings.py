"""String literals, as Go 1.5 encoding/json/{decode,encode}.go reads and writes them."""

from __future__ import annotations

import re

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_escape = re.compile(r"\\(?:u([dD][89abAB]..)\\u([dD][c-fC-F]..)|u(....)|(.))")
_surrogate = re.compile("[\ud800-\udfff]")
_special = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')


def unquote(literal: bytes) -> str:
    """The text of a valid literal, quotes included.

    Every byte that is not part of valid UTF-8 and every lone surrogate becomes one
    U+FFFD, so the result can always be encoded.
    """
    # Python's own "replace" makes one U+FFFD of several bytes, Go one of each.
    text = _surrogate.sub("\ufffd", literal[1:-1].decode("utf-8", "surrogateescape"))
    return _escape.sub(_unescape, text) if "\\" in text else text


def _unescape(match: re.Match[str]) -> str:
    high, low, unit, short = match.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))
    if unit:
        return _surrogate.sub("\ufffd", chr(int(unit, 16)))
    return _ESCAPED.get(short, short)


def quote(text: str) -> bytes:
    """`text` as a literal, `<`, `>`, `&`, U+2028 and U+2029 escaped.

    A surrogate stands for a byte that was not UTF-8 (surrogateescape), which Go writes
    as the escape `\\ufffd`.
    """
    return b'"' + _special.sub(_escape_one, text).encode() + b'"'


def _escape_one(match: re.Match[str]) -> str:
    char = match.group()
    if "\ud800" <= char <= "\udfff":
        char = "\ufffd"
    return _SHORT.get(char) or f"\\u{ord(char):04x}"
