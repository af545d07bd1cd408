"""Every layer's tar rebuilt from its record and its files, and hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers import Driver
from migrator.errors import LayerError, StoreError, Subject
from migrator.layer.hashing import digest_record
from migrator.progress import Progress
from migrator.system.worker_pool import Finished, Pool, Progressed, Started, by
from migrator.tree.pairs import walk
from migrator.verification.findings import Finding, Findings
from migrator.verification.layers import StoredLayer


@dataclass(frozen=True, slots=True)
class ContentTask:
    """A layer of `driver` to rebuild."""

    driver: Driver
    layer: StoredLayer


def check_contents(
    driver: Driver,
    layers: Iterable[StoredLayer],
    workers: int,
    progress: Progress,
    findings: Findings,
) -> int:
    """Rebuild all layers in `workers` processes; returns the number of bytes hashed."""
    layers = sorted(layers, key=lambda layer: (-layer.size, layer.chain))
    tasks = [ContentTask(driver, layer) for layer in layers]
    cache_ids = {layer.chain: layer.cache_id for layer in layers}
    parents = {layer.cache_id: cache_ids.get(layer.parent or "") for layer in layers}
    progress.begin("verify", len(tasks), sum(task.layer.size for task in tasks))
    done = 0
    with (
        driver.opened(),
        Pool(check_content, (schedule := driver.schedule(parents, workers)).workers) as pool,
    ):
        for event in pool.run(tasks, by(lambda task: task.layer.cache_id, schedule.choose)):
            layer = event.task.layer
            if isinstance(event, Started):
                progress.started(layer.chain)
            elif isinstance(event, Progressed):
                done += event.amount
                progress.advanced(event.amount)
            elif isinstance(event, Finished):
                finding = event.result
                if isinstance(event.error, StoreError):
                    # What we could not write ourselves tells nothing of the store.
                    raise event.error
                if event.error is not None:
                    finding = Finding(
                        Subject.LAYER, layer.chain, driver.shown(layer.cache_id), str(event.error)
                    )
                if finding is not None:
                    findings.include(finding)
                progress.done(layer.chain, str(finding) if finding is not None else None)
    progress.end()
    return done


def check_content(task: ContentTask, progress: Callable[[int], None]) -> Finding | None:
    """What is wrong with one layer's content, if anything is."""
    layer, root = task.layer, task.driver.data_root

    def finding(path: str, reason: str) -> Finding:
        return Finding(Subject.LAYER, layer.chain, path, reason)

    directory, shown = task.driver.layer_root(layer.cache_id), task.driver.shown(layer.cache_id)
    try:
        with task.driver.prepared(layer.cache_id):
            digest = digest_record(root / layer.record, directory, progress)
            size_is_right = digest.size == layer.size or (
                _sized_by_walk(task.driver) and _directory_size(directory) == layer.size
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
    for entry in walk(directory):
        if not entry.is_directory:
            sizes[entry.status.st_ino] = entry.status.st_size
    return sum(sizes.values())
