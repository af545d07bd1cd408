"""Layer trees against their records and their parents: what no tar-split record covers.

A record vouches for a layer's own files. Drivers that keep complete trees keep
a copy of everything inherited as well, and that copy is what containers see.
What is compared, and mtimes that count as equal, are those by which Docker
itself tells a changed file (pkg/archive/changes_unix.go), plus the content.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers import Driver
from migrator.errors import LayerError, RecordError, Subject, WorkerError
from migrator.layer.worker_loop import Done, each_layer
from migrator.progress import Progress
from migrator.store.findings import Finding
from migrator.store.layerdb import StoredLayer
from migrator.tree.changes import WHITEOUT, status_differs
from migrator.tree.mtimes import same_through_tar
from migrator.tree.pairs import Node, Pair, pairs
from migrator.verification.coverage import Coverage
from migrator.verification.headers import header_differences

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 256 << 10
_REPORT = 8 << 20

# Far more than any driver takes.
_DEEPEST = 512

# More than this many findings of one layer tell nothing new.
_MOST = 50


@dataclass(frozen=True, slots=True)
class TreeTask:
    """The tree of the layer `chain`, and its parent's if it began as a copy; `size` is estimated.

    `layer_id` and `parent_id` (cache-ids) name their directories; `below` those
    of all layers underneath, nearest first, if the tree is not complete.
    """

    chain: str
    record: str
    layer_id: str
    parent_id: str | None
    below: tuple[str, ...]
    size: int

    @property
    def name(self) -> str:
        """What progress calls the layer."""
        return self.chain


def check_trees(
    driver: Driver, layers: dict[str, StoredLayer], workers: int, progress: Progress
) -> tuple[int, list[Finding]]:
    """Compare all layers' trees in `workers` processes: how many bytes, and what was found.

    The driver must be opened. Raises what is no fault of the store.
    """
    tasks = sorted(_tasks(driver, layers), key=lambda task: (-task.size, task.chain))
    bytes_compared, findings = 0, list[Finding]()

    def found_in(done: Done[TreeTask, tuple[Finding, ...]]) -> tuple[Finding, ...]:
        if isinstance(done.error, WorkerError):
            # Which tells nothing of the layer.
            raise WorkerError(done.error.message, subject=done.task.chain)
        if done.error is None:
            return done.result or ()
        return (_finding(driver, done.task, str(done.error)),)

    def fault(done: Done[TreeTask, tuple[Finding, ...]]) -> str | None:
        return str(found[0]) if (found := found_in(done)) else None

    job = functools.partial(check_tree, driver)
    for done in each_layer("compare trees", tasks, job, driver, workers, progress, fault):
        bytes_compared += done.amount
        findings += found_in(done)
    return bytes_compared, findings


def _tasks(driver: Driver, layers: dict[str, StoredLayer]) -> Iterator[TreeTask]:
    inherited = _inherited(layers)
    for layer in layers.values():
        above = layers.get(layer.parent or "")
        if layer.parent is not None and above is None:
            # Found already: its parent is missing or malformed.
            continue
        complete = driver.is_complete(layer.cache_id)
        yield TreeTask(
            layer.chain,
            layer.record,
            layer.cache_id,
            driver.copied_from(layer.cache_id, above.cache_id if above else None),
            () if complete else _below(layers, layer),
            2 * inherited[layer.chain] if complete else 0,
        )


def _below(layers: dict[str, StoredLayer], layer: StoredLayer) -> tuple[str, ...]:
    found: list[str] = []
    while (at := layers.get(layer.parent or "")) is not None and len(found) < _DEEPEST:
        found.append(at.cache_id)
        layer = at
    return tuple(found)


def _inherited(layers: dict[str, StoredLayer]) -> dict[str, int]:
    """At most how many bytes each layer has from its ancestors; chains may be long."""
    sizes: dict[str, int] = {}
    for layer in layers.values():
        line = []
        at: StoredLayer | None = layer
        while at is not None and at.chain not in sizes:
            line.append(at)
            at = layers.get(at.parent or "")
        for member in reversed(line):
            above = layers.get(member.parent or "")
            sizes[member.chain] = sizes[above.chain] + above.size if above else 0
    return sizes


def check_tree(
    driver: Driver, task: TreeTask, progress: Callable[[int], None]
) -> tuple[Finding, ...]:
    """What is wrong with one layer's tree."""
    found: list[Finding] = []
    layers = [layer for layer in (task.layer_id, task.parent_id) if layer is not None]
    try:
        with driver.prepared(*layers):
            for path, reason in _differences(driver, task, progress):
                found.append(_finding(driver, task, reason, os.fsdecode(path)))
                if len(found) == _MOST:
                    found.append(
                        _finding(driver, task, "there is more; the first differences are listed")
                    )
                    break
    except RecordError as error:
        found.append(Finding(Subject.LAYER, task.chain, task.record, error.message))
    except LayerError as error:
        found.append(_finding(driver, task, error.message, error.subject))
    return tuple(found)


def _finding(driver: Driver, task: TreeTask, reason: str, path: str = "") -> Finding:
    shown = driver.shown(task.layer_id)
    inside = f"{shown}/{path}" if path not in ("", shown) else shown
    return Finding(Subject.LAYER, task.chain, inside, reason)


def _differences(
    driver: Driver, task: TreeTask, progress: Callable[[int], None]
) -> Iterator[tuple[bytes, str]]:
    directory = driver.layer_root(task.layer_id)
    coverage = Coverage(driver.data_root / task.record, directory)
    missing = set(coverage.recorded)
    above = driver.layer_root(task.parent_id) if task.parent_id is not None else None
    complete = driver.is_complete(task.layer_id)
    comparison = _Comparison(progress)
    walk = pairs(directory, above if b"" not in coverage.opaque else None, coverage.hides_parent)
    for path, pair in walk:
        if not complete:
            pair = _without_deletion(pair)
        if pair.new is not None:
            missing.discard(path)
        if path in coverage.recorded:
            continue
        if path in coverage.deleted:
            if pair.new is not None and complete and path not in coverage.ancestors:
                yield path, "is there, though the layer's record deletes it"
            continue
        if pair.new is None:
            if pair.old is not None:
                yield path, "is missing; the parent has it, and the record does not delete it"
        elif pair.old is not None:
            for reason in comparison.of(pair):
                yield path, reason
        elif not (
            (pair.new.is_directory and path in coverage.ancestors)
            or (not complete and _is_whiteout(path, pair.new))
            or _is_copy_to_docker(driver, task, path, pair.new.status)
        ):
            yield path, "is neither in the layer's record nor in the parent"
    comparison.finish()
    for path in sorted(missing):
        yield path, "is in the layer's record, but not in its directory"
    owners = _has_true_owners(driver.data_root)
    yield from header_differences(driver.data_root / task.record, directory, owners=owners)


def _has_true_owners(data_root: Path) -> bool:
    """Whether files belong to whom their tar says.

    To others where the daemon has user namespaces or no root. Then its data root, or since
    Docker 20.10.3 the group of it, is that of the user who is root in containers.
    """
    status = data_root.stat()
    return (status.st_uid, status.st_gid) == (0, 0)


def _is_copy_to_docker(driver: Driver, task: TreeTask, path: bytes, status: os.stat_result) -> bool:
    """Whether the layer underneath has what Docker's comparison takes for the same.

    Then no record has it; but a driver with complete trees showed it as it is
    here, and so does what was made of its layers.
    """
    for cache_id in task.below:
        try:
            old = os.lstat(os.path.join(os.fsencode(driver.layer_root(cache_id)), path))
        except OSError:
            continue
        return not status_differs(status, old)
    return False


def _is_whiteout(path: bytes, node: Node) -> bool:
    """A whiteout as aufs (a name) or overlayfs keeps it, or aufs's bookkeeping."""
    return b"/" + WHITEOUT in b"/" + path or _is_deletion(node)


def _is_deletion(node: Node) -> bool:
    """A whiteout as overlayfs keeps it: a device 0/0."""
    return stat.S_ISCHR(node.status.st_mode) and node.status.st_rdev == 0


def _without_deletion(pair: Pair) -> Pair:
    """The pair as far as the older tree adds something to what lies below both."""
    return pair._replace(old=None) if pair.old is not None and _is_deletion(pair.old) else pair


class _Comparison:
    """Tells what differs between a layer's file and its parent's."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._compared = 0
        self._new = memoryview(bytearray(_BLOCK))
        self._old = memoryview(bytearray(_BLOCK))

    def finish(self) -> None:
        """Report the rest of the bytes compared."""
        if self._compared:
            self._progress(self._compared)
            self._compared = 0

    def of(self, pair: Pair) -> Iterator[str]:
        """What differs, in words; nothing when the inode is the same."""
        assert pair.new is not None
        assert pair.old is not None
        new, old = pair.new.status, pair.old.status
        if (new.st_dev, new.st_ino) == (old.st_dev, old.st_ino):
            return
        if stat.S_IFMT(new.st_mode) != stat.S_IFMT(old.st_mode):
            yield "is of another type than in the parent"
            return
        if new.st_mode != old.st_mode:
            yield f"has the mode {new.st_mode:o}, in the parent {old.st_mode:o}"
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            yield f"belongs to {new.st_uid}:{new.st_gid}, in the parent {old.st_uid}:{old.st_gid}"
        if not pair.new.is_directory and not same_through_tar(new.st_mtime_ns, old.st_mtime_ns):
            yield "has another mtime than in the parent"
        if stat.S_ISLNK(new.st_mode):
            if _target(pair.new) != _target(pair.old):
                yield "links to something else than in the parent"
        elif stat.S_ISREG(new.st_mode):
            yield from self._of_files(pair.new, pair.old)
        elif new.st_rdev != old.st_rdev:
            yield "is another device than in the parent"

    def _of_files(self, new: Node, old: Node) -> Iterator[str]:
        first = os.open(new.name, _FILE, dir_fd=new.fd)
        try:
            second = os.open(old.name, _FILE, dir_fd=old.fd)
            try:
                if _capability(first) != _capability(second):
                    yield "has another security.capability than in the parent"
                if new.status.st_size != old.status.st_size or not self._same(first, second):
                    yield "has other content than in the parent"
            finally:
                os.close(second)
        finally:
            os.close(first)

    def _same(self, first: int, second: int) -> bool:
        while True:
            got = os.readv(first, [self._new])
            other = _read(second, self._old[:got]) if got else os.readv(second, [self._old[:1]])
            if other != got or self._new[:got] != self._old[:got]:
                return False
            if not got:
                return True
            self._compared += 2 * got
            if self._compared >= _REPORT:
                self.finish()


def _read(fd: int, buffer: memoryview) -> int:
    filled = 0
    while filled < len(buffer) and (got := os.readv(fd, [buffer[filled:]])):
        filled += got
    return filled


def _target(node: Node) -> bytes:
    return os.readlink(node.name, dir_fd=node.fd)


def _capability(fd: int) -> bytes:
    try:
        return os.getxattr(fd, "security.capability")
    except OSError:
        return b""
