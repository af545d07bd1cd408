"""The paths that a layer's directory must have because its tar-split record reads them.

Docker opens the layer's directory plus the record's name and follows links.
So what it needs is each file, and the links on the way, taken as if the
directory were `/`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from migrator.layer.tarsplit import Record
from migrator.tree.descent import Descent
from migrator.tree.resolve import below, steps


class RecordPaths:
    """What `record` names with content, looked up in the layer's files below `root`.

    Kept as hashes, eight bytes a path: one that is in by mistake does no harm.
    Names that lead nowhere are left out. Raises LayerError, RecordError.
    """

    def __init__(self, root: Path, record: Path) -> None:
        self._root = root
        self._directories = {hash(b"")}
        files = array("q")
        directory = b""
        found = True
        with Descent(root) as at:
            for entry in Record(record):
                if isinstance(entry, bytes):
                    continue
                path = below(entry[0])
                above, _, name = path.rpartition(b"/")
                if above != directory:
                    directory, found = above, _entered(at, above)
                    if found:
                        self._note_directory(above)
                if found and not _is_link(name, at.fd):
                    files.append(hash(path))
                    continue
                for step in _trail(root, path):
                    files.append(hash(step))
                    self._note_directory(step.rpartition(b"/")[0])
        self._files = array("q", sorted(files))

    def names(self, path: bytes) -> bool:
        """Whether the file, or link, `path` is one of them."""
        value = hash(path)
        at = bisect_left(self._files, value)
        return at < len(self._files) and self._files[at] == value

    def within(self, directory: bytes) -> bool:
        """Whether any of them is somewhere below `directory`."""
        return hash(directory) in self._directories

    def _note_directory(self, directory: bytes) -> None:
        while (value := hash(directory)) not in self._directories:
            self._directories.add(value)
            directory = directory.rpartition(b"/")[0]


def _entered(at: Descent, directory: bytes) -> bool:
    try:
        at.enter(directory)
    except OSError:
        return False
    return True


def _is_link(name: bytes, directory: int) -> bool:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISLNK(status.st_mode)


def _trail(root: Path, path: bytes) -> Iterator[bytes]:
    """The links that are followed on the way to `path`, and where that ends."""
    with Descent(root) as at, contextlib.suppress(OSError):
        yield from (step.path for step in steps(at, path))
