"""What Docker keeps about itself in a data root, which tells whether it was started since.

No migration touches any of it, so that no damage to what one published looks
like it. Docker since 17.03 makes `tmp` anew at every start (`prepareTempDir` in
daemon/daemon.go), 20.10 `runtimes` too, and its databases (bbolt) are written
when they are opened for use; older ones write the networks' at every start. The
last three are those of Docker <= 1.9, whose images and names come and go.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator

from migrator.errors import FormatError
from migrator.state.manifest import Entry
from migrator.system.rootfiles import RootFiles
from migrator.tree.mtimes import same_through_copy

_DIRECTORIES = ("tmp", "runtimes", "graph")
_FILES = (
    "network/files/local-kv.db",
    "volumes/metadata.db",
    *(f"buildkit/{name}.db" for name in ("cache", "metadata", "metadata_v2", "snapshots")),
    "containerd/daemon/io.containerd.metadata.v1.bolt/meta.db",
    "builder/fscache.db",
    "linkgraph.db",
)
_NAMES = "repositories-"

# A database of more is left out: its digest would take long.
_MOST_READ = 64 << 20


def bookkeeping(files: RootFiles) -> list[Entry]:
    """What there is of it now; a directory's digest is empty."""
    names = [name for name in files.names() if name.startswith(_NAMES)]
    found = (_entry(files, path) for path in (*_DIRECTORIES, *_FILES, *names))
    return [entry for entry in found if entry is not None]


def changes(files: RootFiles, before: Iterable[Entry], *, times: bool) -> Iterator[str]:
    """What of it is another than `before`, in words; what is gone tells nothing.

    By its time where the root has kept its `times`, otherwise by its content.
    """
    for entry in before:
        try:
            status = files.status(entry.path)
        except FormatError:
            continue
        if status is None or stat.S_ISDIR(status.st_mode) != (not entry.blake3):
            continue
        if times:
            if not same_through_copy(entry.mtime_ns, status.st_mtime_ns):
                yield f"{entry.path} was {'written' if entry.blake3 else 'changed'}"
        elif entry.blake3 and _digest(files, entry.path) not in (entry.blake3, None):
            yield f"{entry.path} has other content"


def _entry(files: RootFiles, path: str) -> Entry | None:
    try:
        status = files.status(path)
    except FormatError:
        return None
    if status is None:
        return None
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode) and path in _DIRECTORIES:
        return Entry(path, "", mode, status.st_ino, status.st_mtime_ns)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_READ:
        return None
    digest = _digest(files, path)
    if digest is None:
        return None
    return Entry(path, digest, mode, status.st_ino, status.st_mtime_ns)


def _digest(files: RootFiles, path: str) -> str | None:
    try:
        return files.digest(path)[0]
    except FormatError:
        return None
