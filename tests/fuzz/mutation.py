"""Making hostile inputs out of real ones: in terms of JSON, of lines, and of bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import zip_longest
from random import Random

ID = b"ab" * 32
OTHER_ID = b"cd" * 32
DIGEST = b"sha256:" + ID

_NUMBERS = [
    *(b"%d" % (sign * (1 << bits) + more)
      for bits in (0, 31, 32, 53, 63, 64, 70) for sign in (1, -1) for more in (-1, 0, 1)),
    b"-0", b"0.5", b"1e400", b"-1E-400", b"1e5", b"00", b"01", b"-", b"+1", b".5", b"1.",
    b"0x10", b"NaN", b"Infinity", b"9" * 400, b"0." + b"0" * 400 + b"1", b"1_0",
]  # fmt: skip

_TEXTS = [
    b"", b" ", b"/", b".", b"..", b"../../../etc/passwd", b"/etc/passwd", b"a/../../b", b"a//b",
    b"a" * 300, b"a" * 5000, b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"\\ud83d\\ude00",
    b"\\u2028<>&", b"\xe2\x80\xa8", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"\\x", b"\\u12", b"\\", b"\n", b"\x00", b"\x1b[31m", b"\xc2\x9b31m", b"\xe2\x80\xae", b"\x7f",
    b"1.8.3", b"1.8.3" + b"." * 50, b"1.-8.+3", b"99999999999999999999.1", b"1.10.0-rc1",
    b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59.999999999+23:59", b"2015-02-31T1:00:.5+-1:+9",
    b"2015-13-01T00:00:00Z", b"0000-01-01T00:00:00-23:59", b"2015-01-01T00:00:00.1234567890123Z",
    b"9999-12-31T23:59:99.5Z", ID, OTHER_ID, DIGEST, DIGEST[:-1], b"sha512:" + ID * 2,
    b"tarsum+sha256:x", b":", b"x:y", b"latest", b"library/a", b"docker.io/a", b"sha256",
    b"a:5000/b",
]  # fmt: skip

_KEYS = [
    b"parent", b"Parent", b"PARENT", b"parent_id", b"id", b"Image", b"image", b"Links",
    b"link\\u017f",
    b"Config", b"container_config", b"Cmd", b"Env", b"Labels", b"Volumes", b"created", b"rootfs",
    b"RootFS", b"history", b"Hi\xc5\xbftory", b"Size", b"docker_version", b"Name", b"Driver",
    b"Repositories", b"type", b"name", b"name_raw", b"size", b"payload", b"position", b"",
    b"\\u0000",
    b"diff_ids", b"Digest", b"schema", b"files", b"path", b"joined", b"seal",
]  # fmt: skip

_ODD = [b"null", b"true", b"false", b"[]", b"{}", b"", b"nul", b'"', b"{", b"]"]

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\s\[\]{}:,"]+|[\[\]{}:,]')


@lru_cache(512)
def _values(text: bytes) -> list[tuple[int, int, int]]:
    """Spans of values, each with where its member's key begins, or itself."""
    found: list[tuple[int, int, int]] = []
    open_at: list[tuple[int, int]] = []
    tokens = list(_TOKEN.finditer(text))
    key = None
    for token, following in zip_longest(tokens, tokens[1:]):
        mark = token.group()
        if mark in b"]}":
            start, first = open_at.pop() if open_at else (0, 0)
            found.append((start, token.end(), first))
        elif mark[:1] == b'"' and following is not None and following.group() == b":":
            key = token.start()
        elif mark not in b":,":
            first = token.start() if key is None else key
            key = None
            if mark in b"[{":
                open_at.append((token.start(), first))
            else:
                found.append((token.start(), token.end(), first))
    return found


def json_value(random: Random, *, depth: int = 2) -> bytes:
    """Any value, seldom a valid one for where it goes."""
    way = random.randrange(12 if depth else 8)
    if way < 4:
        return b'"' + random.choice(_TEXTS) + b'"'
    if way < 6:
        return random.choice(_NUMBERS)
    if way < 8:
        return random.choice(_ODD)
    if way < 9:
        deep = random.choice((3, 300, 2000, 9_999, 10_001, 30_000))
        opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[{},[", b"]]")))
        return opening * deep + random.choice((b"1", b"", b"{}")) + closing * deep
    if way < 10:
        count = random.choice((1, 2, 50, 3000))
        element = json_value(random, depth=depth - 1 if count < 3 else 0)
        return b"[" + b",".join([element] * count) + b"]"
    members = (member(random, depth=depth - 1) for _ in range(random.randrange(5)))
    return b"{" + b",".join(members) + b"}"


def member(random: Random, *, depth: int = 1) -> bytes:
    """A member of an object, under a key that means something somewhere."""
    return b'"' + random.choice(_KEYS) + b'":' + json_value(random, depth=depth)


def mutate_json(random: Random, text: bytes, others: list[bytes]) -> bytes:
    """`text`, which is JSON, with a few values changed, doubled, moved or taken away."""
    spans = _values(text)
    if not spans:
        return json_value(random)
    chosen = sorted(
        random.sample(spans, min(len(spans), random.choice((1, 1, 2, 5)))), reverse=True
    )
    before = len(text) + 1
    for start, end, first in chosen:
        if end > before:
            continue
        before = first
        match random.randrange(8):
            case 0 | 1 | 2:
                text = text[:start] + json_value(random) + text[end:]
            case 3:
                donor = random.choice(others)
                at, to, _ = random.choice(_values(donor) or [(0, len(donor), 0)])
                text = text[:start] + donor[at:to] + text[end:]
            case 4:
                # Doubled, perhaps often, perhaps under a key that only Go takes for the same.
                key = text[first:start].swapcase() if random.random() < 0.5 else text[first:start]
                again = b"," + key + random.choice((text[start:end], b"null", b"[null]", b"{}"))
                text = text[:end] + again * random.choice((1, 1, 3, 500)) + text[end:]
            case 5:
                text = text[:first] + text[end:].lstrip(b",")
            case 6 if text[start : start + 1] == b"{":
                text = text[: start + 1] + member(random) + b"," + text[start + 1 :]
            case _:
                space = random.choice((b" ", b"\n\t ", b"\0", b"\xef\xbb\xbf", b"//", b" " * 5000))
                text = text[:start] + space + text[start:]
    return mutate_bytes(random, text) if random.random() < 0.15 else text


def mutate_lines(random: Random, text: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """`text` with some lines changed by `change`, doubled, swapped, lost or run together."""
    lines = text.splitlines(keepends=True)[: random.choice((5, 20, 100_000))]
    for _ in range(random.choice((1, 1, 2, 6))):
        if not lines:
            break
        at = random.randrange(len(lines))
        match random.randrange(7):
            case 0 | 1 | 2:
                lines[at] = change(lines[at])
            case 3:
                lines.insert(random.randrange(len(lines)), lines[at])
            case 4:
                del lines[at]
            case 5:
                other = random.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                lines[at] = lines[at].rstrip(b"\n") + random.choice((b"", b"\r\n", b"\n\n", b" "))
    return b"".join(lines)


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """`data` with bytes changed, cut, repeated or put in, without knowing what it is."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(changed) + 1)
        length = random.choice((1, 1, 2, 4, 8, 100))
        match random.randrange(6):
            case 0 | 1 if at < len(changed):
                changed[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
            case 2 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length] * random.choice((1, 2, 50))
            case _:
                changed[at : at + length] = random.randbytes(length)
    if random.random() < 0.1:
        del changed[random.randrange(len(changed) + 1) :]
    return bytes(changed)
