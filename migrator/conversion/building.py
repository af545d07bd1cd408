"""One layer's directory below `overlay2/`, built by a worker process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from migrator.drivers import Driver
from migrator.errors import LayerError, RecordError
from migrator.layer.recordpaths import RecordPaths
from migrator.layer.tarsplit import Record
from migrator.system import disk
from migrator.system.files import is_directory
from migrator.system.worker_process import Attempt
from migrator.tree.confined import LayerDirectory
from migrator.tree.fingerprint import fingerprint
from migrator.tree.overlaydir import Built, Transfer, build
from migrator.tree.ownfiles import OwnFiles
from migrator.tree.removal import remove_layers


@dataclass(frozen=True, slots=True)
class Origin:
    """A layer as the source driver has it.

    `layer` and `parent` are the driver's IDs of it and of the layer below,
    `record` is its tar-split record, `content` what tells whether it still is
    the same (a diffID, say).
    """

    layer: str
    parent: str | None
    record: Path | None = None
    content: str = ""


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """The layer `chain` on the layer `parent` (chainIDs); all `origins` are the same layer.

    `size` is in bytes.
    """

    chain: str
    parent: str | None
    origins: tuple[Origin, ...]
    size: int

    @property
    def record_size(self) -> int | None:
        """Bytes of its tar-split record, which tell how many files it has; None without one."""
        record = self.origins[0].record
        try:
            return record.stat().st_size if record is not None else None
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class ContainerLayers:
    """A container's writable layer and, if it has one, its init layer, on the layer `parent`.

    `writable`, `init` and `below` are the source driver's IDs, `below` that of `parent`.
    """

    container: str
    parent: str | None
    below: str | None
    writable: str
    init: str | None


@dataclass(frozen=True, slots=True)
class Layers:
    """All that are to be built: image layers, parents first, and those of containers."""

    driver: Driver
    images: tuple[ImageLayer, ...] = ()
    containers: tuple[ContainerLayers, ...] = ()

    def joined(self, others: Layers) -> Layers:
        """These, and then others of the same driver."""
        return Layers(
            self.driver, (*self.images, *others.images), (*self.containers, *others.containers)
        )


@dataclass(frozen=True, slots=True)
class TreeTask:
    """A layer's directory to build at `target`, from the first of `origins` that can be read.

    `link` and `lower` are what its files of these names say. A container's
    layer is `writable`, others get the file `committed`. `transfer` is how files
    come there; `size` estimates their bytes, `entries` their number. `owner` is
    the user and group that the directory is for. `known` is the fingerprint of
    the directory that an earlier run has built there.
    """

    origins: tuple[Origin, ...]
    target: Path
    link: str
    lower: str
    writable: bool
    transfer: Transfer
    size: int
    entries: int
    owner: tuple[int, int]
    known: str | None = None

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.target.name

    @property
    def layer_id(self) -> str:
        """The source driver's ID of the layer."""
        return self.origins[0].layer

    @property
    def parent_id(self) -> str | None:
        """The source driver's ID of the layer below."""
        return self.origins[0].parent


@dataclass(frozen=True, slots=True)
class TreeResult:
    """A directory that was built: its fingerprint, and what it got (not known of a kept one).

    `seconds` is the time that it took in its worker.
    """

    fingerprint: str
    built: Built | None
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether an earlier run had built it."""
        return self.built is None


def source_of(driver: Driver, task: TreeTask) -> str:
    """Stands for everything that a directory is built from, in 64 hex digits."""
    origins = [
        (each.layer, each.parent, each.content, _identity(driver, each.layer))
        for each in task.origins
    ]
    things = (driver.name, origins, task.link, task.lower, task.transfer.value, task.owner)
    return blake3(repr(things).encode()).hexdigest()


def build_tree(driver: Driver, task: TreeTask, progress: Callable[[int], None]) -> TreeResult:
    """Build one layer's directory, unless the one that is there still is as it was built.

    The driver must be opened. Raises LayerError when the layer cannot be read,
    StoreError when the directory cannot be written.
    """
    begun = time.perf_counter()
    if task.known is not None and _is_as_built(task):
        progress(task.size)
        return TreeResult(task.known, None, time.perf_counter() - begun)
    failure: LayerError | None = None
    for origin in task.origins:
        remove_layers(task.target)
        attempt = Attempt(progress)
        try:
            built = _build(driver, task, origin, attempt)
        except LayerError as error:
            failure = failure or error
            attempt.take_back()
            continue
        return TreeResult(fingerprint(task.target), built, time.perf_counter() - begun)
    remove_layers(task.target)
    assert failure is not None
    raise failure


def _build(
    driver: Driver, task: TreeTask, origin: Origin, progress: Callable[[int], None]
) -> Built:
    target = task.target
    layers = [layer for layer in (origin.layer, origin.parent) if layer is not None]
    files_of = driver.writable_files if task.writable else driver.own_files
    with driver.prepared(*layers), disk.operation("build", target):
        target.mkdir(0o710)
        os.chown(target, *task.owner)
        files = files_of(origin.layer, origin.parent)
        built = build(
            files, target / "diff", task.transfer, _required(files, origin.record), progress
        )
        _write(target / "link", task.link)
        if task.lower:
            _write(target / "lower", task.lower)
            for directory in ("work", "merged"):
                (target / directory).mkdir(0o700)
        if origin.record is not None:
            check_record(origin.record, target / "diff")
        if not task.writable:
            # Docker mounts it read only then, and files that are shared stay as they are.
            _write(target / "committed", "", 0o600)
    return built


def _required(files: OwnFiles, record: Path | None) -> RecordPaths | None:
    """What is to be in the directory because the record reads it."""
    if record is None or files.kind == "tree":
        # All of a tree is there anyway.
        return None
    return RecordPaths(files.root, record)


def check_record(record: Path, directory: Path) -> None:
    """Check that a directory has the files from which its layer's tar is rebuilt, by their sizes.

    Raises RecordError, naming the first that it has not.
    """
    with LayerDirectory(directory) as files:
        for item in Record(record):
            if isinstance(item, bytes):
                continue
            name, size, _ = item
            try:
                fd, status = files.open(name)
                os.close(fd)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise RecordError(f"is missing ({reason})", subject=os.fsdecode(name)) from None
            if status.st_size != size:
                raise RecordError(
                    f"has {status.st_size} bytes, its record says {size}",
                    subject=os.fsdecode(name),
                )


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)


def _is_as_built(task: TreeTask) -> bool:
    try:
        return is_directory(task.target) and fingerprint(task.target) == task.known
    except LayerError:
        return False


def _identity(driver: Driver, layer: str) -> tuple[int, int] | None:
    """What tells a layer's directory from another one of this name, where there is one."""
    if driver.files is None:
        return None
    try:
        status = driver.layer_root(layer).lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
