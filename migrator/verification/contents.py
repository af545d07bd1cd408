"""Every layer's tar rebuilt from its record and its files, and hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import LayerError, Subject
from migrator.layer.hashing import digest_record
from migrator.pool import Finished, Pool, Progressed, Started
from migrator.progress import Progress
from migrator.verification.directories import Layout
from migrator.verification.findings import Finding, Findings
from migrator.verification.layers import StoredLayer
from migrator.verification.trees import walk


@dataclass(frozen=True, slots=True)
class ContentTask:
    """A layer to rebuild; `directory` (relative to `root`) has its files."""

    root: Path
    layer: StoredLayer
    directory: str
    sized_by_walk: bool


def check_contents(
    root: Path,
    layout: Layout,
    layers: Iterable[StoredLayer],
    workers: int,
    progress: Progress,
    findings: Findings,
) -> int:
    """Rebuild all layers in `workers` processes; returns the number of bytes hashed."""
    assert layout.files is not None
    tasks = [
        ContentTask(root, layer, layout.files.format(layer.cache_id), layout.sized_by_walk)
        for layer in sorted(layers, key=lambda layer: (-layer.size, layer.chain))
    ]
    progress.begin("verify", len(tasks), sum(task.layer.size for task in tasks))
    done = 0
    with Pool(check_content, workers) as pool:
        for event in pool.run(tasks):
            layer = event.task.layer
            if isinstance(event, Started):
                progress.started(layer.chain)
            elif isinstance(event, Progressed):
                done += event.amount
                progress.advanced(event.amount)
            elif isinstance(event, Finished):
                finding = event.result
                if event.error is not None:
                    finding = Finding(
                        Subject.LAYER, layer.chain, event.task.directory, str(event.error)
                    )
                if finding is not None:
                    findings.include(finding)
                progress.done(layer.chain, str(finding) if finding is not None else None)
    progress.end()
    return done


def check_content(task: ContentTask, progress: Callable[[int], None]) -> Finding | None:
    """What is wrong with one layer's content, if anything is."""
    layer = task.layer

    def finding(path: str, reason: str) -> Finding:
        return Finding(Subject.LAYER, layer.chain, path, reason)

    directory = task.root / task.directory
    try:
        digest = digest_record(task.root / layer.record, directory, progress)
    except LayerError as error:
        if not error.subject:
            return finding(layer.record, error.message)
        inside = "" if error.subject == str(directory) else f"/{error.subject}"
        return finding(f"{task.directory}{inside}", error.message)
    if digest.diff_id != layer.diff:
        return finding(
            layer.record, f"the tar that it rebuilds is {digest.diff_id}, diff says {layer.diff}"
        )
    if digest.size != layer.size and not (
        task.sized_by_walk and _directory_size(directory) == layer.size
    ):
        path = layer.record.replace("/tar-split.json.gz", "/size")
        return finding(path, f"says {layer.size}, the layer's files have {digest.size} bytes")
    return None


def _directory_size(directory: Path) -> int:
    """Docker's pkg/directory.Size: all that are no directories, each inode once."""
    sizes: dict[int, int] = {}
    for entry in walk(directory):
        if not entry.is_directory:
            sizes[entry.status.st_ino] = entry.status.st_size
    return sum(sizes.values())
