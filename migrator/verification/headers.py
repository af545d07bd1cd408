"""A layer's own files against the tar headers in its record: what they are, not what is in them.

What Docker sets when it unpacks a header (pkg/archive `createTarFile`) must be
so on the disk: type, mode, owner, a link's target, a device's number,
`security.capability`. Times are left out: a copy need not have them.
"""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from migrator.layer.capability import capability_of
from migrator.layer.descent import Descent
from migrator.layer.tarsplit import Record

_CAPABILITY = "SCHILY.xattr.security.capability"

_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_TYPES = {
    **dict.fromkeys(_REGULAR, stat.S_IFREG),
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
    # What hard links may be to, other than regular files.
    special: dict[bytes, int] = {}
    # Of several entries of one name the last one counts.
    found: dict[bytes, list[str]] = {}
    with Descent(directory) as at:
        for entry, raw in Record(record).headers():
            path = _relative(entry)
            header = _header(raw)
            if header is None or header.type not in (*_TYPES, tarfile.LNKTYPE):
                continue
            if header.type not in (tarfile.LNKTYPE, *_REGULAR):
                special[path] = _TYPES[header.type]
            found.pop(path, None)
            above, _, name = path.rpartition(b"/")
            try:
                at.enter(above)
                status = os.stat(name, dir_fd=at.fd, follow_symlinks=False)
                if header.type == tarfile.LNKTYPE:
                    # The rest is the inode's, and told by the header of what it is a link to.
                    target = _relative(header.linkname.encode("utf-8", "surrogateescape"))
                    differences = [*_of_type(special.get(target, stat.S_IFREG), status)]
                else:
                    differences = [*_of_type(_TYPES[header.type], status)]
                    differences = differences or [
                        *_of_status(header, status, owners),
                        *_of_link(header, at.fd, name),
                        *(_of_capability(header, at.fd, name, status) if owners else ()),
                    ]
            except (OSError, ValueError):
                continue
            if differences:
                found[path] = differences
    for path, differences in found.items():
        yield from ((path, reason) for reason in differences)


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


def _relative(name: bytes) -> bytes:
    return posixpath.normpath(b"/" + name).lstrip(b"/")


def _of_type(kind: int, status: os.stat_result) -> Iterator[str]:
    if stat.S_IFMT(status.st_mode) != kind:
        yield "is of another type than in the layer's record"


def _of_status(header: tarfile.TarInfo, status: os.stat_result, owners: bool) -> Iterator[str]:
    mode, recorded = stat.S_IMODE(status.st_mode), stat.S_IMODE(header.mode)
    if header.type != tarfile.SYMTYPE and mode != recorded:
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
    header: tarfile.TarInfo, directory: int, name: bytes, status: os.stat_result
) -> Iterator[str]:
    if not stat.S_ISREG(status.st_mode):
        return
    recorded = header.pax_headers.get(_CAPABILITY, "").encode("utf-8", "surrogateescape")
    if (capability_of(directory, name) or b"") != recorded:
        yield "has another security.capability than in the layer's record"
