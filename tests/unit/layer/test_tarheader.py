"""Header bytes: hand-made expectations for what is peculiar to Go 1.5, tarfile for the rest."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.layer import tarheader
from migrator.layer.tarheader import HeaderEncoder

MAGIC = slice(257, 265)
MAX_SECONDS = 2**33 - 1


def encode(name: bytes, type_flag: bytes = tarheader.REGULAR, **fields: object) -> bytes:
    return HeaderEncoder().encode(name, type_flag, **fields)  # type: ignore[arg-type]


def test_plain_header_byte_for_byte() -> None:
    header = encode(
        b"bin/sh", mode=0o104755, uid=1000, gid=100, size=10, mtime_ns=0o12345670123 * 10**9 + 1
    )
    before = b"bin/sh".ljust(100, b"\0") + (
        b"0104755\x000001750\x000000144\x0000000000012\x0012345670123\0"
    )
    after = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    checksum = sum(before) + 8 * ord(" ") + sum(after)
    assert header == before + b"%06o\0 " % checksum + after


def test_device_numbers_and_type() -> None:
    header = encode(
        b"dev/sda", tarheader.BLOCK_DEVICE, mode=0o60660, device=(0xFFF, 0xFFFFF), mtime_ns=0
    )
    assert header[156:157] == b"4"
    assert header[329:345] == b"0007777\x003777777\0"


def test_a_large_number_is_binary_and_taints_all_later_headers() -> None:
    encoder = HeaderEncoder()
    before = encoder.encode(b"a", b"0", uid=2**21 - 1, gid=2**21 - 1, size=2**33 - 1)
    assert before[108:136] == b"7777777\x007777777\x0077777777777\0"
    assert before[MAGIC] == b"ustar\x0000"

    large = encoder.encode(b"b", b"0", uid=2**21, gid=2**32 - 2, size=2**33)
    assert large[108:116] == bytes.fromhex("8000000000200000")
    assert large[116:124] == bytes.fromhex("80000000fffffffe")
    assert large[124:136] == bytes.fromhex("800000000000000200000000")

    after = encoder.encode(b"c", b"0")
    pax_and_split = encoder.encode(b"d/" + b"x" * 100, b"0") + encoder.encode(b"\xff", b"0")
    magics = [block[MAGIC] for block in (large, after, pax_and_split, pax_and_split[512:])] + [
        pax_and_split[-512:][MAGIC]
    ]
    assert magics == [b"ustar  \0"] * 5


def test_a_large_number_taints_the_pax_header_before_it() -> None:
    blocks = encode(b"\xc3\xa9", uid=2**21)
    assert blocks[MAGIC] == blocks[1024:][MAGIC] == b"ustar  \0"


@pytest.mark.parametrize(
    ("mtime_ns", "seconds"),
    [
        (0, 0),
        (-1, 0),
        (-(10**9), 0),
        (10**9 - 1, 0),
        (2 * 10**9 - 1, 1),
        (MAX_SECONDS * 10**9, MAX_SECONDS),
        (MAX_SECONDS * 10**9 + 1, 0),
        (2**33 * 10**9, 0),
    ],
)
def test_times_are_cut_to_seconds_and_dropped_out_of_range(mtime_ns: int, seconds: int) -> None:
    assert int(encode(b"a", mtime_ns=mtime_ns)[136:147], 8) == seconds


A99, A100, A155 = b"a" * 99, b"a" * 100, b"a" * 155


@pytest.mark.parametrize(
    ("name", "prefix", "rest"),
    [
        (A100, b"", A100),
        (b"d/" + A100, b"d", A100),
        (b"d/" + A99 + b"/", b"d", A99 + b"/"),
        (A155 + b"/" + A100, A155, A100),
        (b"d/e/" + A99, b"d/e", A99),
    ],
)
def test_long_ascii_names_are_split(name: bytes, prefix: bytes, rest: bytes) -> None:
    header = encode(name)
    assert len(header) == 512
    assert header[:100].rstrip(b"\0") == rest
    assert header[345:500].rstrip(b"\0") == prefix


@pytest.mark.parametrize(
    "name",
    [
        b"a" * 101,
        b"/" + A100,
        b"d/" + A100 + b"/",
        b"a" * 156 + b"/b",
        b"d/" + b"e" * 154 + b"/" + A100,
        b"d/" + A100 + b"\xc3\xa9",
        b"\xff",
    ],
)
def test_names_that_cannot_be_split_get_a_path_record(name: bytes) -> None:
    blocks = encode(name)
    record = b" path=" + name + b"\n"
    assert record in blocks[512:-512]
    assert blocks[-512:-412] == bytes(100)
    assert blocks[-512:][345:500] == bytes(155)


def test_a_long_link_keeps_the_name_from_being_split() -> None:
    blocks = encode(b"d/" + A100, tarheader.SYMLINK, link=b"l" * 101)
    assert blocks[512:-512].rstrip(b"\0") == (
        b"115 linkpath=" + b"l" * 101 + b"\n" + b"112 path=d/" + A100 + b"\n"
    )
    assert blocks[-512:-412] == blocks[-512:][157:257] == bytes(100)


def test_a_capability_does_not_keep_the_name_from_being_split() -> None:
    blocks = encode(b"d/" + A100, capability=b"\1\0=\n\xff")
    assert blocks[512:-512].rstrip(b"\0") == b"42 SCHILY.xattr.security.capability=\1\0=\n\xff\n"
    assert blocks[-512:-412] == A100
    assert blocks[-512:][345:346] == b"d"


@pytest.mark.parametrize(
    ("name", "pax_name"),
    [
        (b"\xc3\xa9x", b"PaxHeaders.0/x"),
        (b"a/\xffb/c", b"a/b/PaxHeaders.0/c"),
        (b"a/\xffb/", b"a/b/PaxHeaders.0"),
        (b"\xff/" + b"d" * 90 + b"/file", b"/" + b"d" * 90 + b"/PaxHeade"),
        (b"a/\xff", b"a/PaxHeaders.0/"),
    ],
)
def test_pax_header_entry(name: bytes, pax_name: bytes) -> None:
    header = encode(name, mode=0o100644, uid=5, gid=6, size=7, mtime_ns=8 * 10**9)[:512]
    assert header[:100].rstrip(b"\0") == pax_name
    assert header[100:124] == b"0000000\0" * 3
    assert header[136:148] == b"00000000010\0"
    assert header[156:157] == b"x"


@pytest.mark.parametrize("length", [*range(88, 95), *range(985, 995)])
def test_pax_record_counts_its_own_digits(length: int) -> None:
    blocks = encode(b"n" * (length - 1) + b"\xff")
    record = blocks[512:-512].rstrip(b"\0")
    assert record.split(b" ", 1)[0] == b"%d" % len(record)


names = st.binary(min_size=1, max_size=300).map(
    lambda raw: raw.replace(b"\0", b"0").strip(b"/") or b"n"
)
links = st.binary(max_size=300).map(lambda raw: raw.replace(b"\0", b"0"))


@given(
    name=names,
    link=links,
    uid=st.integers(0, 2**32 - 1),
    size=st.integers(0, 2**40),
    mtime=st.integers(0, MAX_SECONDS),
    capability=st.none() | st.binary(min_size=1, max_size=40),
)
def test_tarfile_reads_what_was_encoded(
    name: bytes, link: bytes, uid: int, size: int, mtime: int, capability: bytes | None
) -> None:
    header = encode(
        name,
        tarheader.SYMLINK,
        link=link,
        mode=0o120777,
        uid=uid,
        size=size,
        mtime_ns=mtime * 10**9,
        capability=capability,
    )
    assert len(header) % 512 == 0
    with tarfile.open(
        fileobj=io.BytesIO(header + bytes(1024)), encoding="utf-8", errors="surrogateescape"
    ) as tar:
        member = tar.next()
    assert member is not None
    assert member.name.encode("utf-8", "surrogateescape") == name.rstrip(b"/")
    assert member.linkname.encode("utf-8", "surrogateescape") == link
    assert (member.uid, member.size, member.mtime) == (uid, size, mtime)
    if capability is not None:
        value = member.pax_headers["SCHILY.xattr.security.capability"]
        assert value.encode("utf-8", "surrogateescape") == capability
