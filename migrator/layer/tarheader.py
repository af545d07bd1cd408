"""The header blocks of a tar entry, byte for byte as Go 1.5's archive/tar wrote them.

Where Go's writer left something to chance, one choice is made: PID 0 in the
names of PAX headers, and PAX records sorted by key.
"""

from __future__ import annotations

BLOCK = 512

REGULAR = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER_DEVICE = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"
# What Go leaves in a header nobody gave a type: sockets and whiteouts.
UNTYPED = b"\0"

_PAX = b"x"
_PAX_CAPABILITY = b"SCHILY.xattr.security.capability"
_PAX_LINK = b"linkpath"
_PAX_NAME = b"path"

_NAME_FIELD = 100
_PREFIX_FIELD = 155
_MAX_TIME = (2**33 - 1) * 10**9


class HeaderEncoder:
    """Encodes the headers of one archive.

    It has a memory: as in Go 1.5, once a number needed base-256 all later
    headers of the archive carry the GNU magic.
    """

    def __init__(self) -> None:
        self._binary = False

    def encode(
        self,
        name: bytes,
        type_flag: bytes,
        *,
        mode: int = 0,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime_ns: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        capability: bytes | None = None,
    ) -> bytes:
        """All blocks that precede an entry's content: a PAX header if one is needed, and its own.

        `name` is what the entry is called (`dir/` for a directory), `mode`
        includes the type bits, `mtime_ns` is in nanoseconds since 1970,
        `device` major and minor number.
        """
        seconds = mtime_ns // 10**9 if 0 <= mtime_ns <= _MAX_TIME else 0
        records: dict[bytes, bytes] = {}
        name_field, prefix, link_field = name, b"", link
        if not _fits(link):
            link_field = b""
            records[_PAX_LINK] = link
        if not _fits(name):
            halves = None if records else _split(name)
            if halves is None:
                name_field = b""
                records[_PAX_NAME] = name
            else:
                prefix, name_field = halves
        block = self._block(
            name_field, type_flag, mode, uid, gid, size, seconds, link_field, device, prefix
        )
        if capability is not None:
            records[_PAX_CAPABILITY] = capability
        return self._pax(name, seconds, records) + block if records else block

    def _pax(self, name: bytes, seconds: int, records: dict[bytes, bytes]) -> bytes:
        body = b"".join(_record(key, value) for key, value in sorted(records.items()))
        directory, slash, last = name.rpartition(b"/")
        pax_name = directory + slash + b"PaxHeaders.0" + (b"/" + last if last else b"")
        ascii_name = bytes(byte for byte in pax_name if byte < 0x80)[:_NAME_FIELD]
        header = self._block(ascii_name, _PAX, 0, 0, 0, len(body), seconds, b"", (0, 0), b"")
        return header + body + padding(len(body))

    def _block(
        self,
        name: bytes,
        type_flag: bytes,
        mode: int,
        uid: int,
        gid: int,
        size: int,
        seconds: int,
        link: bytes,
        device: tuple[int, int],
        prefix: bytes,
    ) -> bytes:
        numbers = b"%07o\0%b%b%b%011o\0" % (
            mode,
            self._number(uid, 8),
            self._number(gid, 8),
            self._number(size, 12),
            seconds,
        )
        front = name.ljust(_NAME_FIELD, b"\0") + numbers
        back = b"%b%b%b%b%07o\0%07o\0%b" % (
            type_flag,
            link.ljust(_NAME_FIELD, b"\0"),
            b"ustar  \0" if self._binary else b"ustar\x0000",
            bytes(64),
            *device,
            prefix.ljust(_PREFIX_FIELD + 12, b"\0"),
        )
        checksum = sum(front) + 8 * ord(" ") + sum(back)
        return b"%b%06o\0 %b" % (front, checksum, back)

    def _number(self, value: int, width: int) -> bytes:
        if value < 8 ** (width - 1):
            return b"%0*o\0" % (width - 1, value)
        self._binary = True
        return (value | 1 << 8 * width - 1).to_bytes(width, "big")


def padding(size: int) -> bytes:
    """The zeros that fill `size` bytes up to a whole block."""
    return bytes(-size % BLOCK)


def _fits(text: bytes) -> bool:
    return len(text) <= _NAME_FIELD and text.isascii()


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """A long name as prefix and name field, or None if Go would not split it."""
    if not name.isascii():
        return None
    end = min(len(name), _PREFIX_FIELD + 1)
    if end == len(name) and name.endswith(b"/"):
        end -= 1
    at = name.rfind(b"/", 0, end)
    if at < 1 or len(name) - at - 1 > _NAME_FIELD:
        return None
    return name[:at], name[at + 1 :]


def _record(key: bytes, value: bytes) -> bytes:
    """`LEN key=value\\n`, LEN counting its own digits."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return b"%d%b" % (length, rest)
