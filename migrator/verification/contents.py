"""Every layer's tar rebuilt from its record and its files, and hashed."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers import Driver
from migrator.errors import LayerError, Subject, WorkerError
from migrator.layer.digest import digest_record
from migrator.layer.worker_loop import Done, each_layer
from migrator.progress import Progress
from migrator.store.findings import Finding
from migrator.store.layerdb import StoredLayer
from migrator.tree.content import reading
from migrator.tree.descent import Descent
from migrator.tree.walk import names_below


@dataclass(frozen=True, slots=True)
class ContentTask:
    """A layer to rebuild; `parent_id` is the cache-id of the one below, if that is known."""

    layer: StoredLayer
    parent_id: str | None

    @property
    def name(self) -> str:
        """What progress calls the layer."""
        return self.layer.chain

    @property
    def layer_id(self) -> str:
        """The driver's name of the layer."""
        return self.layer.cache_id

    @property
    def size(self) -> int:
        """Bytes of the layer's files, as the store says."""
        return self.layer.size


def check_contents(
    driver: Driver, layers: Iterable[StoredLayer], workers: int, progress: Progress
) -> tuple[int, list[Finding]]:
    """Rebuild all layers in `workers` processes: how many bytes were hashed, what was found.

    The driver must be opened. Raises what is no fault of the store.
    """
    layers = sorted(layers, key=lambda layer: (-layer.size, layer.chain))
    cache_ids = {layer.chain: layer.cache_id for layer in layers}
    tasks = [ContentTask(layer, cache_ids.get(layer.parent or "")) for layer in layers]
    bytes_hashed, findings = 0, list[Finding]()

    def finding_of(done: Done[ContentTask, Finding | None]) -> Finding | None:
        if isinstance(done.error, WorkerError):
            # Which tells nothing of the layer.
            raise WorkerError(done.error.message, subject=done.task.layer.chain)
        if done.error is None:
            return done.result
        layer = done.task.layer
        return Finding(Subject.LAYER, layer.chain, driver.shown(layer.cache_id), str(done.error))

    def fault(done: Done[ContentTask, Finding | None]) -> str | None:
        return None if (finding := finding_of(done)) is None else str(finding)

    job = functools.partial(check_content, driver)
    for done in each_layer("verify", tasks, job, driver, workers, progress, fault):
        bytes_hashed += done.amount
        if (finding := finding_of(done)) is not None:
            findings.append(finding)
    return bytes_hashed, findings


def check_content(
    driver: Driver, task: ContentTask, progress: Callable[[int], None]
) -> Finding | None:
    """What is wrong with one layer's content, if anything is."""
    layer, root = task.layer, driver.data_root

    def finding(path: str, reason: str) -> Finding:
        return Finding(Subject.LAYER, layer.chain, path, reason)

    directory, shown = driver.layer_root(layer.cache_id), driver.shown(layer.cache_id)
    try:
        with driver.prepared(layer.cache_id):
            digest = digest_record(root / layer.record, directory, progress)
            size_is_right = digest.size == layer.size or (
                _sized_by_walk(driver) and _directory_size(directory) == layer.size
            )
    except LayerError as error:
        if not error.subject:
            return finding(layer.record, error.message)
        inside = "" if error.subject in (str(directory), shown) else f"/{error.subject}"
        hint = f"; {error.hint}" if error.hint else ""
        return finding(f"{shown}{inside}", f"{error.message}{hint}")
    if digest.diff_id != layer.diff:
        return finding(
            layer.record, f"the tar that it rebuilds is {digest.diff_id}, diff says {layer.diff}"
        )
    if not size_is_right:
        path = layer.record.replace("/tar-split.json.gz", "/size")
        return finding(path, f"says {layer.size}, the layer's files have {digest.size} bytes")
    return None


def _sized_by_walk(driver: Driver) -> bool:
    """Whether Docker records what the directory holds as the layer's size, not what its tar has.

    Docker daemon/graphdriver/{aufs,overlay2}: ApplyDiff ends in directory.Size; the
    others apply a diff with the generic code, which sums the tar headers up.
    """
    return not driver.complete_trees


def _directory_size(directory: Path) -> int:
    """Docker's pkg/directory.Size: all that are no directories, each inode once."""
    sizes: dict[int, int] = {}
    with Descent(directory) as at:
        for path, name, is_directory in names_below(at):
            if not is_directory:
                with reading(path):
                    status = os.stat(name, dir_fd=at.fd, follow_symlinks=False)
                sizes[status.st_ino] = status.st_size
    return sum(sizes.values())
