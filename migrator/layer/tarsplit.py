"""Reading a tar-split record (`tar-data.json.gz`, `tar-split.json.gz`).

A record is what is left of a layer's tar when the content of its files is
taken out: gzip around one JSON object a line, either raw bytes of the tar
(type 2) or the place of a file's content with its size and CRC-64 (type 1).
Written by vbatts/tar-split as Docker 1.8 and later use it.

A record is read as a stream, whatever its size: a million entries cost eight
bytes each, for finding names that come twice.
"""

from __future__ import annotations

import gzip
import os
import posixpath
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path

import msgspec
from isal import igzip
from isal.igzip_lib import IsalError

from migrator.errors import FormatError, LayerError, RecordError
from migrator.system.files import open_regular

# What is decompressed, and parsed, at a time: little enough for a core's second-level
# cache, together with what it is parsed into. And what is read for it.
_BATCH = 128 << 10
_READ = 128 << 10

# Docker's own lines are some hundred bytes; a PAX header can make one longer.
_MAX_LINE = 16 << 20

# A header with its extensions, far longer than any real one.
_LONGEST_HEADER = 1 << 20

# Headers repeat themselves, but a record that unpacks to more than this many
# times its size is no record. Short ones may: an empty layer is all zeros.
_MAX_EXPANSION = 250
_FREE_EXPANSION = 64 << 20

# Sets of this many hashes are built when looking for repeated names.
_BUCKET = 1 << 18

_SEGMENT = 2
_FILE = 1

_SLASH = ord("/")
# How a name ends that may not be clean; an empty one is not.
_ENDS_UNCLEAN = (b".", b"/", b"")

# Where in a batch msgspec found something wrong.
_WHERE = re.compile(r"\$\[\d+\]")

# A file whose content belongs here: its clean name in the layer, size in bytes, CRC-64
# as eight bytes. A plain tuple, because there are hundreds of thousands.
FileEntry = tuple[bytes, int, bytes]


class _Line(msgspec.Struct, gc=False):
    """A record's line, as `Entry` in tar-split's tar/storage; base64 is decoded."""

    type: int = 0
    name: str = ""
    name_raw: bytes | None = None
    size: int = 0
    payload: bytes | None = None


_decode_lines = msgspec.json.Decoder(_Line).decode_lines


class Record:
    """One tar-split record; iterating yields raw tar bytes and `FileEntry`s in order.

    Entries without content (directories, links, empty files) yield nothing.
    After the iteration `size` is the sum of all sizes, which is what Docker
    records as the layer's size, `entries` the number of type-1 lines and
    `files` the number of those that have content.

    Raises `RecordError` when the record cannot be opened, is damaged, or
    names a path twice (tar-split refuses those: two names are equal when they
    are equal after Go's `filepath.Clean`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.entries = 0
        self.files = 0
        self._hashes = array("q")

    def __iter__(self) -> Iterator[bytes | FileEntry]:
        # Every call here costs as much as a hundred bytes of hashing.
        note = self._hashes.append
        for lines in self._parsed():
            for line in lines:
                if line.type == _SEGMENT:
                    if line.payload:
                        yield line.payload
                elif line.type == _FILE:
                    name = _clean_name(line)
                    note(hash(name))
                    if size := line.size:
                        checksum = line.payload
                        if size < 0 or checksum is None or len(checksum) != 8:
                            raise _unsound(name, line)
                        self.files += 1
                        self.size += size
                        yield name, size, checksum
        self.entries = len(self._hashes)
        if self._repeats():
            repeated = self._first_repeated_name()
            if repeated is not None:
                raise RecordError(f"the record names {os.fsdecode(repeated)!r} twice")

    def names(self) -> Iterator[bytes]:
        """The clean names of all type-1 lines, in order."""
        for lines in self._parsed():
            yield from (_clean_name(line) for line in lines if line.type == _FILE)

    def headers(self) -> Iterator[tuple[bytes, bytes]]:
        """The clean names of all type-1 lines, with the raw bytes between them and the last one.

        These end in the entry's header. Of very many, only the last are given.
        """
        raw = bytearray()
        for lines in self._parsed():
            for line in lines:
                if line.type == _SEGMENT:
                    raw += line.payload or b""
                    del raw[:-_LONGEST_HEADER]
                elif line.type == _FILE:
                    yield _clean_name(line), bytes(raw)
                    raw.clear()

    def _parsed(self) -> Iterator[list[_Line]]:
        """The record's lines, some hundred at a time."""
        for text in self._batches():
            try:
                lines = _decode_lines(text)
            except (ValueError, RecursionError) as error:
                reason = _WHERE.sub("line", str(error))
                raise RecordError(f"the record has a line that is none ({reason})") from None
            yield lines

    def _batches(self) -> Iterator[bytes]:
        """The decompressed text in pieces of whole lines, each ending in a newline."""
        rest = b""
        total = 0
        try:
            file = FileIO(open_regular(self.path))
            with BufferedReader(file, _READ) as raw, igzip.IGzipFile(fileobj=raw) as stream:
                size = os.fstat(file.fileno()).st_size
                if not size:
                    raise RecordError("the record is empty")
                allowed = max(_FREE_EXPANSION, _MAX_EXPANSION * size)
                while block := stream.read(_BATCH):
                    total += len(block)
                    if total > allowed:
                        raise RecordError("the record unpacks to far more than a record can hold")
                    end = block.rfind(b"\n") + 1
                    if not end:
                        rest += block
                        if len(rest) > _MAX_LINE:
                            raise RecordError("the record has a line longer than any real one")
                        continue
                    yield rest + block[:end]
                    rest = block[end:]
        except (EOFError, IsalError, gzip.BadGzipFile) as error:  # type: ignore[misc]
            raise RecordError(f"the record is damaged ({error})") from None
        except FormatError as error:
            raise RecordError(f"the record {error.message}") from None
        except FileNotFoundError:
            raise RecordError("the record is gone") from None
        except OSError as error:
            # A failing disk says nothing about the record: no other diffID for that.
            raise LayerError(
                f"its tar-split record cannot be read ({error.strerror or error})",
                subject=str(self.path),
            ) from None
        if rest.strip():
            yield rest + b"\n"

    def _repeats(self) -> bool:
        """Whether two names have one hash; bucket by bucket, to stay small."""
        hashes = self._hashes
        buckets = len(hashes) // _BUCKET + 1
        if buckets == 1:
            return len(set(hashes)) != len(hashes)
        distinct = sum(
            len({value for value in hashes if value % buckets == bucket})
            for bucket in range(buckets)
        )
        return distinct != len(hashes)

    def _first_repeated_name(self) -> bytes | None:
        suspects = {value for value, count in Counter(self._hashes).items() if count > 1}
        seen: set[bytes] = set()
        for name in self.names():
            if hash(name) in suspects:
                if name in seen:
                    return name
                seen.add(name)
        return None


def _unsound(name: bytes, line: _Line) -> RecordError:
    """What to raise for an entry with content whose size or checksum cannot be."""
    if line.size < 0:
        return RecordError(f"the record gives {os.fsdecode(name)!r} the size {line.size}")
    return RecordError(f"the record's payload for {os.fsdecode(name)!r} is no checksum")


def _clean_name(line: _Line) -> bytes:
    """The entry's name as Go's filepath.Clean leaves it."""
    name = line.name_raw or line.name.encode()
    if (
        name[-1:] not in _ENDS_UNCLEAN
        and name[0] != _SLASH
        and b"//" not in name
        and b"./" not in name
    ):
        return name
    # normpath keeps two leading slashes, Clean does not.
    return (
        b"/" + posixpath.normpath(name).lstrip(b"/")
        if name[:1] == b"/"
        else posixpath.normpath(name)
    )
