"""One layer's hashing as a task for a worker process."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers import Driver
from migrator.errors import MigratorError, RecordError
from migrator.layer.digest import HashedLayer, Method, digest_record, fingerprint_record
from migrator.layer.fingerprint import Fingerprint, with_unusable_record
from migrator.layer.recompute import fingerprint_recomputed, recompute
from migrator.system.worker_process import Attempt
from migrator.text import shown


@dataclass(frozen=True, slots=True)
class LayerTask:
    """A layer to hash.

    `parent` is the layer below. `record` is its tar-split record, if it has
    one. Without a usable record the diff is made anew, and its record written
    to `new_record`. `size` estimates the bytes to read, for order and progress.
    `known` is what an earlier run found.
    """

    v1_id: str
    parent: str | None
    record: Path | None
    new_record: Path
    size: int
    known: HashedLayer | None = None

    @property
    def name(self) -> str:
        """What progress calls the layer."""
        return self.v1_id

    @property
    def layer_id(self) -> str:
        """The driver's name of the layer."""
        return self.v1_id

    @property
    def parent_id(self) -> str | None:
        """The driver's name of the layer below."""
        return self.parent

    @property
    def record_size(self) -> int | None:
        """Bytes of the layer's record, which tell how many files it has; None without one."""
        try:
            return self.record.stat().st_size if self.record is not None else None
        except OSError:
            return None

    def record_of(self, layer: HashedLayer) -> Path:
        """The record that rebuilds the tar of this task's result."""
        if layer.method is Method.RECORD and self.record is not None:
            return self.record
        return self.new_record

    @property
    def compared(self) -> tuple[str, ...]:
        """The layers that making the diff anew has to look into."""
        return (self.v1_id,) if self.parent is None else (self.v1_id, self.parent)


def hash_layer(driver: Driver, task: LayerTask, progress: Callable[[int], None]) -> HashedLayer:
    """Hash one layer: from its record if that works, else from its files.

    A result of an earlier run is kept if nothing that it depends on has
    changed. The driver must be opened. Raises `LayerError` when the layer can't
    be hashed.
    """
    known = task.known
    if known is not None and known.digest.fingerprint == _fingerprint(driver, task, known):
        progress(known.digest.tar_bytes)
        return dataclasses.replace(known, kept=True)
    begun = time.perf_counter()
    fault = None
    method = Method.RECORD
    digest = None
    if task.record is not None:
        attempt = Attempt(progress)
        try:
            with driver.prepared(task.v1_id):
                digest = digest_record(task.record, driver.layer_root(task.v1_id), attempt)
        except RecordError as error:
            fault = shown(str(error))
            attempt.take_back()
    if digest is None:
        method = Method.RECOMPUTED
        with driver.prepared(*task.compared):
            source = driver.diff_source(task.v1_id, task.parent)
            digest = recompute(source, task.new_record, progress)
        digest = dataclasses.replace(
            digest, fingerprint=with_unusable_record(digest.fingerprint, task.record)
        )
    layer = HashedLayer(task.v1_id, digest, method, fault, time.perf_counter() - begun)
    fingerprint = _fingerprint_of_versions(driver, task, layer)
    if fingerprint is not None:
        digest = dataclasses.replace(digest, fingerprint=fingerprint)
    return dataclasses.replace(layer, digest=digest)


def _fingerprint(driver: Driver, task: LayerTask, known: HashedLayer) -> str | None:
    """The fingerprint of the layer as it is now; None when it cannot be taken."""
    try:
        fingerprint = _fingerprint_of_versions(driver, task, known)
        if fingerprint is not None:
            return fingerprint
        if known.method is Method.RECOMPUTED:
            with driver.prepared(*task.compared):
                source = driver.diff_source(task.v1_id, task.parent)
                fingerprint = fingerprint_recomputed(source, task.new_record)
            return with_unusable_record(fingerprint, task.record)
        if task.record is not None:
            with driver.prepared(task.v1_id):
                return fingerprint_record(task.record, driver.layer_root(task.v1_id))
    except (OSError, MigratorError):
        pass
    return None


def _fingerprint_of_versions(driver: Driver, task: LayerTask, layer: HashedLayer) -> str | None:
    """The fingerprint where the driver can tell without the files whether they have changed.

    None where it cannot.
    """
    versions = [driver.version(compared) for compared in task.compared]
    if any(version is None for version in versions):
        return None
    fingerprint = Fingerprint()
    fingerprint.data(repr(versions).encode())
    fingerprint.record(task.record_of(layer))
    if layer.method is Method.RECOMPUTED:
        return with_unusable_record(fingerprint.hexdigest(), task.record)
    return fingerprint.hexdigest()
