"""Writing a tar-split record as vbatts/tar-split and Go's encoding/json write it.

One JSON object a line: raw bytes of the tar (type 2), and for every entry its
name, size and CRC-64 (type 1). The gzip around it holds no time and no name, so
that equal tars have equal records.
"""

from __future__ import annotations

from binascii import b2a_base64
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from isal import isal_zlib

from migrator.gojson.strings import quote
from migrator.system import disk

# Level 2 of isal packs better than 1 at the same speed; 3 is much slower for little more.
_LEVEL = 2
_GZIP = 31

# How much text is handed to the compressor at once.
_BATCH = 256 << 10


class RecordWriter:
    """A record in the making; leaving the context with an exception removes the file.

    `entries` counts the type-1 lines, `size` sums up their sizes in bytes (what
    Docker records as the layer's size). Raises `StoreError` when the file
    cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = 0
        self.size = 0
        self._position = 0
        self._lines: list[bytes] = []
        self._held = 0
        self._gzip = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
        # Never over an old record: that may be linked to from elsewhere.
        disk.remove_file(path)
        with disk.operation("create record", path):
            self._file = path.open("xb")

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException:
                self._discard()
                raise
        else:
            self._discard()

    def segment(self, raw: bytes) -> None:
        """Note raw bytes of the tar."""
        payload = b2a_base64(raw, newline=False)
        self._write(b'{"type":2,"payload":"%b","position":%d}\n' % (payload, self._position))

    def file(self, name: bytes, size: int, crc: int) -> None:
        """Note an entry: its full name, the size of its content in bytes, the CRC-64 of that."""
        self.entries += 1
        self.size += size
        payload = b"null"
        if size:
            payload = b'"%b"' % b2a_base64(crc.to_bytes(8, "big"), newline=False)
        self._write(
            b'{"type":1,%b%b"payload":%b,"position":%d}\n'
            % (_name(name), b'"size":%d,' % size if size else b"", payload, self._position)
        )

    def _write(self, line: bytes) -> None:
        self._position += 1
        self._lines.append(line)
        self._held += len(line)
        if self._held >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        data = self._gzip.compress(b"".join(self._lines))
        self._lines.clear()
        self._held = 0
        with disk.operation("write record", self.path):
            self._file.write(data)

    def _finish(self) -> None:
        # tar-split reads on behind the end blocks and notes what it finds: nothing.
        self.segment(b"")
        self._flush()
        with disk.operation("end record", self.path):
            self._file.write(self._gzip.flush())
            self._file.close()

    def _discard(self) -> None:
        # What could not be flushed goes away with the file.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _name(name: bytes) -> bytes:
    """The `name` or, if it is not UTF-8, `name_raw` member with its comma."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return b'"name_raw":"%b",' % b2a_base64(name, newline=False)
    return b'"name":%b,' % quote(text)
