"""Building a `diff` directory of overlay2 from a layer's own files.

In such a directory a device 0/0 stands for a deletion and an attribute makes a
directory opaque (Linux Documentation/filesystems/overlayfs); all the rest is
as it is seen. So names that begin with `.wh.` mean nothing in it, but a real
device 0/0, or a file that has overlayfs's attributes, cannot be in it.
Sockets are made as what they are, without anybody listening.
"""

from __future__ import annotations

import contextlib
import enum
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import LayerError
from migrator.system import disk, disk_at
from migrator.system.disk_at import Metadata, Place
from migrator.tree.content import check_unchanged, pieces, reading
from migrator.tree.descent import Descent, open_file
from migrator.tree.ownfiles import OwnFiles, OwnKind, RequiredPaths
from migrator.tree.walk import names_below
from migrator.tree.xattrs import OPAQUE, OVERLAY_MEANINGS, path_at, xattr_names, xattrs_of

# How often progress is told, in bytes and in files.
_STEP = 4 << 20
_STEP_FILES = 256


class Transfer(enum.Enum):
    """How a file comes into the target; where one does not work, the next is taken."""

    LINK = "hard link"
    REFLINK = "reflink"
    COPY = "copy"


@dataclass(slots=True)
class Built:
    """What a directory got: files are all but directories and whiteouts.

    `linked`, `reflinked` and `copied` are bytes of content by the way they
    came. A further name of a file that is there already adds none.
    """

    files: int = 0
    directories: int = 0
    whiteouts: int = 0
    linked: int = 0
    reflinked: int = 0
    copied: int = 0


def choose_transfer(source: Path, target: Path, links: bool = True) -> Transfer:
    """The cheapest transfer from below the directory `source` into the directory `target`.

    Tried with one file of `source`; COPY if there is none. Without `links`,
    for files that are going to be written to, it is REFLINK or COPY. Raises
    LayerError, StoreError.
    """
    with contextlib.ExitStack() as stack:
        at = stack.enter_context(Descent(source))
        to = stack.enter_context(Descent(target))
        name = _some_file(at)
        if name is None:
            return Transfer.COPY
        trial = Place(to.fd, b".way", target / ".way")
        disk.remove_file(trial.path)
        stack.callback(disk.remove_file, trial.path)
        if links and disk_at.link(at.fd, name, trial):
            return Transfer.LINK
        with reading(name):
            fd = open_file(name, at.fd)
        stack.callback(os.close, fd)
        copy = disk_at.create(trial)
        stack.callback(os.close, copy)
        return Transfer.REFLINK if disk_at.reflink(fd, copy, trial.path) else Transfer.COPY


def build(
    source: OwnFiles,
    target: Path,
    transfer: Transfer,
    required: RequiredPaths | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Built:
    """Make the directory `target`, which must not exist, with `source`'s own files.

    `target` gets the metadata of the source's root. With `required`, also what
    the layer underneath has just the same. `progress` is called now and then
    with the bytes of content that came in since the last call, linked ones
    included. Nothing is synced. Raises LayerError naming a file that cannot be
    read, is changed meanwhile, or cannot be in overlay2; StoreError. What was made
    until then stays.
    """
    with contextlib.ExitStack() as stack:
        outside = stack.enter_context(Descent(target.parent))
        at = stack.enter_context(Descent(source.root))
        place = Place(outside.fd, os.fsencode(target.name), target)
        disk_at.make_directory(place)
        to = stack.enter_context(Descent(target))
        copies = stack.enter_context(Descent(target))
        builder = _Builder(source.kind == "overlay", target, transfer, at, to, copies, progress)
        metadata = builder.directory_metadata(OwnKind.ENTRY)
        for path, kind in source.entries(required):
            builder.add(path, kind)
        builder.finish()
        disk_at.set_metadata(place, metadata)
        return builder.built


class _Builder:
    """Walks the source and the target side by side.

    A directory gets its metadata when all of its files are in. `copies` stands
    somewhere in the target, where the first name of a copied file is.
    """

    def __init__(
        self,
        is_upper: bool,
        target: Path,
        transfer: Transfer,
        at: Descent,
        to: Descent,
        copies: Descent,
        progress: Callable[[int], None],
    ) -> None:
        self.built = Built()
        self._refused = frozenset[str]() if is_upper else OVERLAY_MEANINGS
        self._target = target
        self._transfer = transfer
        self._at = at
        self._to = to
        self._copies = copies
        self._progress = progress
        self._untold = 0
        # What it is about; the root of the source at first.
        self._path = b""
        # The directories that it stands in, below the root.
        self._inside: list[tuple[bytes, Metadata]] = []
        # The first names of files that were copied and have several.
        self._copied: dict[tuple[int, int], bytes] = {}

    def add(self, path: bytes, kind: OwnKind) -> None:
        """The next of the layer's own files."""
        self._path = path
        directory, _, name = path.rpartition(b"/")
        while self._to.path != directory:
            self._leave()
        place = Place(self._to.fd, name, self._target / os.fsdecode(path))
        if kind is OwnKind.WHITEOUT:
            disk_at.make_node(place, stat.S_IFCHR, os.makedev(0, 0))
            self.built.whiteouts += 1
            return
        with reading(path):
            status = os.stat(name, dir_fd=self._at.fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._enter(place, kind)
            else:
                self._file(place, status)

    def finish(self) -> None:
        """Complete what is open."""
        while self._inside:
            self._leave()
        self._progress(self._untold)

    def directory_metadata(self, kind: OwnKind) -> Metadata:
        """What the directory of the source that it stands in is to become."""
        with reading(self._at.path):
            xattrs = self._xattrs(self._at.fd)
            status = os.fstat(self._at.fd)
        if kind is OwnKind.OPAQUE:
            xattrs[OPAQUE] = b"y"
        return _metadata(status, xattrs)

    def _enter(self, place: Place, kind: OwnKind) -> None:
        disk_at.make_directory(place)
        self._at.down(place.name)
        with disk.operation("open", place.path):
            self._to.down(place.name)
        self._inside.append((place.name, self.directory_metadata(kind)))
        self.built.directories += 1

    def _leave(self) -> None:
        name, metadata = self._inside.pop()
        path = self._target / os.fsdecode(self._to.path)
        with reading(self._at.path):
            self._at.up()
        with disk.operation("open", path):
            self._to.up()
        disk_at.set_metadata(Place(self._to.fd, name, path), metadata)

    def _file(self, place: Place, status: os.stat_result) -> None:
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            raise LayerError(
                "is a device 0/0, a deletion in overlay2", subject=os.fsdecode(self._path)
            )
        if self._transfer is Transfer.LINK and self._link(place):
            self.built.linked += size
        elif not self._link_copy(place, status):
            if stat.S_ISREG(status.st_mode):
                self._copy(place, status)
            else:
                self._make(place, status)
        self.built.files += 1
        self._untold += size
        if self._untold >= _STEP or self.built.files % _STEP_FILES == 0:
            self._progress(self._untold)
            self._untold = 0

    def _link(self, place: Place) -> bool:
        if self._refused:
            self._check(xattr_names(path_at(self._at.fd, place.name)))
        return disk_at.link(self._at.fd, place.name, place)

    def _link_copy(self, place: Place, status: os.stat_result) -> bool:
        """Link to the copy under another name, if there is one; note it down if not."""
        if status.st_nlink == 1:
            return False
        key = status.st_dev, status.st_ino
        first = self._copied.get(key)
        if first is not None:
            directory, _, name = first.rpartition(b"/")
            with disk.operation("open", place.path):
                self._copies.enter(directory)
            if disk_at.link(self._copies.fd, name, place):
                return True
        self._copied[key] = self._path
        return False

    def _copy(self, place: Place, status: os.stat_result) -> None:
        fd = open_file(place.name, self._at.fd)
        try:
            xattrs = self._xattrs(fd)
            copy = disk_at.create(place)
            try:
                if self._transfer is not Transfer.COPY and disk_at.reflink(fd, copy, place.path):
                    self.built.reflinked += status.st_size
                else:
                    content = pieces(self._path, fd, status)
                    disk_at.write_sparse(copy, status.st_size, content, place.path)
                    self.built.copied += status.st_size
            finally:
                os.close(copy)
            check_unchanged(self._path, fd, status)
        finally:
            os.close(fd)
        disk_at.set_metadata(place, _metadata(status, xattrs))

    def _make(self, place: Place, status: os.stat_result) -> None:
        """A symbolic link, device, fifo or socket."""
        xattrs = self._xattrs(path_at(self._at.fd, place.name))
        symlink = stat.S_ISLNK(status.st_mode)
        if symlink:
            disk_at.make_symlink(os.readlink(place.name, dir_fd=self._at.fd), place)
        else:
            disk_at.make_node(place, stat.S_IFMT(status.st_mode), status.st_rdev)
        disk_at.set_metadata(place, _metadata(status, xattrs), symlink=symlink)

    def _xattrs(self, file: bytes | int) -> dict[str, bytes]:
        xattrs = xattrs_of(file)
        self._check(xattrs)
        # Whether a directory is opaque the layer's own files say.
        xattrs.pop(OPAQUE, None)
        return xattrs

    def _check(self, xattrs: Iterable[str]) -> None:
        if refused := self._refused.intersection(xattrs):
            raise LayerError(
                f"has the attribute {min(refused)}, by which overlay2 would show something else",
                subject=os.fsdecode(self._path),
            )


def _some_file(at: Descent) -> bytes | None:
    """The name of a regular file, in whose directory `at` is then."""
    for path, name, _ in names_below(at):
        with reading(path):
            if stat.S_ISREG(os.stat(name, dir_fd=at.fd, follow_symlinks=False).st_mode):
                return name
    return None


def _metadata(status: os.stat_result, xattrs: dict[str, bytes]) -> Metadata:
    return Metadata(
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_atime_ns,
        status.st_mtime_ns,
        xattrs,
    )
