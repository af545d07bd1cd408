"""Which paths of a layer's tree its tar-split record speaks of."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from pathlib import Path

from migrator.errors import LayerError
from migrator.layer.tarsplit import Record
from migrator.tree.changes import AUFS_META, AUFS_OPAQUE, WHITEOUT
from migrator.tree.resolve import below

# An entry of tars that git writes; it stands for no file.
_NO_FILE = frozenset((b"", b"pax_global_header"))

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40


class Coverage:
    """What a record says of its layer's tree, by path.

    `recorded` are the layer's own entries, `ancestors` the directories above them
    and above whiteouts (tars need not list them), `deleted` what is whited
    out, `opaque` the directories that show nothing of the parent's. Raises
    RecordError, and LayerError when the layer's directory cannot be opened.
    """

    def __init__(self, record: Path, directory: Path) -> None:
        self.recorded: set[bytes] = set()
        self.deleted: set[bytes] = set()
        self.opaque: set[bytes] = set()
        self.ancestors: set[bytes] = set()
        for entry in Record(record).names():
            name = below(entry)
            if name in _NO_FILE:
                continue
            above, _, last = name.rpartition(b"/")
            if last == AUFS_OPAQUE:
                self.opaque.add(above)
            elif (
                last.startswith(AUFS_META) or b"/" + AUFS_META in name or name.startswith(AUFS_META)
            ):
                # aufs's own bookkeeping is in old images, and is never unpacked.
                continue
            elif last.startswith(WHITEOUT):
                self.deleted.add(posixpath.join(above, last[len(WHITEOUT) :]))
            else:
                self.recorded.add(name)
            self._add_ancestors(above)
        self._follow_links(directory)

    def hides_parent(self, directory: bytes) -> bool:
        """Whether nothing of what the parent has below `directory` is to be seen."""
        return directory in self.opaque or directory in self.deleted

    def _add_ancestors(self, path: bytes) -> None:
        while path and path not in self.ancestors:
            self.ancestors.add(path)
            path = path.rpartition(b"/")[0]

    def _follow_links(self, directory: Path) -> None:
        """Entries below a symbolic link were unpacked where it leads."""
        links: dict[bytes, bytes] = {}
        directories = {b""}
        try:
            top = os.open(directory, _DIRECTORY)
        except OSError as error:
            raise LayerError(f"cannot be opened ({error.strerror})") from None
        try:
            for path in sorted(self.ancestors, key=len):
                above = posixpath.dirname(path)
                if above not in directories:
                    continue
                with contextlib.suppress(OSError):
                    mode = os.stat(path, dir_fd=top, follow_symlinks=False).st_mode
                    if stat.S_ISDIR(mode):
                        directories.add(path)
                    elif stat.S_ISLNK(mode):
                        target = posixpath.join(b"/", above, os.readlink(path, dir_fd=top))
                        links[path] = below(target)
        finally:
            os.close(top)
        if not links:
            return
        for paths in (self.recorded, self.deleted, self.opaque):
            moved = {_resolved(path, links) for path in paths}
            paths.clear()
            paths.update(moved)
        for path in self.recorded | self.deleted:
            self._add_ancestors(path.rpartition(b"/")[0])


def _resolved(path: bytes, links: dict[bytes, bytes]) -> bytes:
    for _ in range(_MAX_LINKS):
        above = path.rpartition(b"/")[0]
        while above and above not in links:
            above = above.rpartition(b"/")[0]
        if not above:
            break
        path = posixpath.join(links[above], path[len(above) + 1 :])
    return path
