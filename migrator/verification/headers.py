"""A layer's own files against the tar headers in its record: what they are, not what is in them.

What Docker sets when it unpacks a header (pkg/archive `createTarFile`) must be
so on the disk: type, mode, owner, a link's target, a device's number,
`security.capability`. Times are left out: a copy need not have them.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from migrator.layer.tarsplit import Record
from migrator.tree.capability import capability_of
from migrator.tree.descent import Descent
from migrator.tree.resolve import below

_CAPABILITY = "SCHILY.xattr.security.capability"

_TYPES = {
    **dict.fromkeys((tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE), stat.S_IFREG),
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
_DEVICES = (tarfile.CHRTYPE, tarfile.BLKTYPE)

# What is in the way of reading a header that is none.
_UNREADABLE = (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError, KeyError)


def header_differences(
    record: Path, directory: Path, *, owners: bool
) -> Iterator[tuple[bytes, str]]:
    """What the files below `directory` have otherwise than the record's headers, by path.

    With `owners` false, owners and capabilities are left out: a daemon with user
    namespaces stores others than the tar has. What is not there, or reached through a
    link, is passed over. Raises RecordError and LayerError.
    """
    comparison = _Headers(owners)
    with Descent(directory) as at:
        for entry, raw in Record(record).headers():
            header = _header(raw)
            if header is not None:
                comparison.compare(below(entry), header, at)
    for path, differences in comparison.found.items():
        yield from ((path, reason) for reason in differences)


class _Headers:
    """Headers in the order in which Docker applies them. Of several for one file the last counts:

    a hard link's sets mode, owner and capability of the file that it is one more name of.
    """

    def __init__(self, owners: bool) -> None:
        self.found: dict[bytes, list[str]] = {}
        self._owners = owners
        # What hard links may be to, other than regular files; and what they are to.
        self._special: dict[bytes, int] = {}
        self._first: dict[bytes, bytes] = {}

    def compare(self, path: bytes, header: tarfile.TarInfo, at: Descent) -> None:
        kind = self._kind(path, header)
        if kind is None:
            return
        self.found.pop(self._first.get(path, path), None)
        above, _, name = path.rpartition(b"/")
        try:
            at.enter(above)
            status = os.stat(name, dir_fd=at.fd, follow_symlinks=False)
            if stat.S_IFMT(status.st_mode) != kind:
                differences = ["is of another type than in the layer's record"]
            else:
                differences = [
                    *_of_status(header, kind, status, self._owners),
                    *_of_link(header, at.fd, name),
                    *(_of_capability(header, kind, at.fd, name) if self._owners else ()),
                ]
        except (OSError, ValueError):
            return
        if differences:
            self.found[path] = differences

    def _kind(self, path: bytes, header: tarfile.TarInfo) -> int | None:
        """The file type that the header stands for; None if for none that we know."""
        self._first.pop(path, None)
        if header.type == tarfile.LNKTYPE:
            target = below(header.linkname.encode("utf-8", "surrogateescape"))
            first = self._first[path] = self._first.get(target, target)
            return self._special.get(first, stat.S_IFREG)
        kind = _TYPES.get(header.type)
        self._special.pop(path, None)
        if kind not in (stat.S_IFREG, None):
            self._special[path] = kind
        return kind


def _header(raw: bytes) -> tarfile.TarInfo | None:
    """The header at the end of what precedes an entry's content; None if it is none.

    In front of it may be its extensions, and before these the padding of the last content.
    """
    blocks = raw[len(raw) % tarfile.BLOCKSIZE :]
    try:
        if len(blocks) == tarfile.BLOCKSIZE:
            return tarfile.TarInfo.frombuf(blocks, "utf-8", "surrogateescape")
        file = io.BytesIO(blocks)
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as tar:
            return tar.next()
    except _UNREADABLE:
        return None


def _of_status(
    header: tarfile.TarInfo, kind: int, status: os.stat_result, owners: bool
) -> Iterator[str]:
    mode, recorded = stat.S_IMODE(status.st_mode), stat.S_IMODE(header.mode)
    if kind != stat.S_IFLNK and mode != recorded:
        yield f"has the mode {mode:o}, in the layer's record {recorded:o}"
    if owners and (status.st_uid, status.st_gid) != (header.uid, header.gid):
        yield (
            f"belongs to {status.st_uid}:{status.st_gid},"
            f" in the layer's record to {header.uid}:{header.gid}"
        )
    numbers = (os.major(status.st_rdev), os.minor(status.st_rdev))
    if header.type in _DEVICES and numbers != (header.devmajor, header.devminor):
        yield "is another device than in the layer's record"


def _of_link(header: tarfile.TarInfo, directory: int, name: bytes) -> Iterator[str]:
    if header.type == tarfile.SYMTYPE:
        target = header.linkname.encode("utf-8", "surrogateescape")
        if os.readlink(name, dir_fd=directory) != target:
            yield "links to something else than in the layer's record"


def _of_capability(
    header: tarfile.TarInfo, kind: int, directory: int, name: bytes
) -> Iterator[str]:
    if kind != stat.S_IFREG:
        return
    recorded = header.pax_headers.get(_CAPABILITY, "").encode("utf-8", "surrogateescape")
    if (capability_of(directory, name) or b"") != recorded:
        yield "has another security.capability than in the layer's record"
