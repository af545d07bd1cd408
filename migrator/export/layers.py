"""Reading the layers to export, each once, in worker processes: digests and blobs."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers import Driver
from migrator.errors import LayerError, MigratorError, PermissionDenied, RecordError, StoreError
from migrator.export.blobs import Blob, BlobWriter
from migrator.export.compression import Compression
from migrator.layer.difftar import write_diff
from migrator.layer.hashing import LayerDigest, digest_record
from migrator.layer.recompute import changes_of
from migrator.layer.tarhash import Sink, TarHash
from migrator.layer.task import HashedLayer, Method
from migrator.progress import Progress
from migrator.system.worker_pool import Finished, Pool, Progressed, Started, by
from migrator.system.worker_process import Attempt
from migrator.text import shown


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a store.

    `key` is the store's own name for it, a v1 ID or a diffID; `directory` names
    its files to the storage driver, `below` those of the layer that it lies on.
    `size` in bytes is an estimate. A store that knows the layer's `diff_id`
    gets no other one.
    """

    key: str
    directory: str
    below: str | None
    record: Path | None
    size: int
    diff_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReadLayer:
    """A layer that was read: what it hashes to, and its blob if one was wanted.

    `begun` is when, in seconds since the first layer was begun; `worker` by whom.
    """

    hashed: HashedLayer
    blob: Blob | None = None
    begun: float = 0.0
    worker: int = 0

    @property
    def diff_id(self) -> str:
        """The layer's diffID, `sha256:...`."""
        return self.hashed.digest.diff_id


@dataclass(frozen=True, slots=True)
class Task:
    """A layer to read. With `blobs`, a directory, its tar goes there, compressed."""

    layer: Layer
    driver: Driver
    blobs: Path | None
    compression: Compression


@dataclass(slots=True)
class Layers:
    """Layers by key: those that could be read, and what was wrong with the others."""

    read: dict[str, ReadLayer] = dataclasses.field(default_factory=dict)
    failed: dict[str, MigratorError] = dataclasses.field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return key in self.read or key in self.failed


def read_layers(
    layers: Iterable[Layer],
    driver: Driver,
    compression: Compression,
    blobs: Path | None,
    workers: int,
    progress: Progress,
    ready: Callable[[ReadLayer], object] = lambda _: None,
) -> Layers:
    """Read `layers` in `workers` processes at most (none: in this one).

    The largest come first, unless the driver reads them better in another order.
    With `blobs`, a directory, their tars go there. `ready` is called for every
    layer that could be read, always in the same order. The driver must be
    opened. Raises StoreError when something cannot be written.
    """
    tasks = [
        Task(layer, driver, blobs, compression)
        for layer in sorted(layers, key=lambda layer: (-layer.size, layer.key))
    ]
    result = Layers()
    if not tasks:
        return result
    parents = {task.layer.directory: task.layer.below for task in tasks}
    schedule = driver.schedule(parents, min(workers, len(tasks)))
    # How many of the tasks `ready` has been told of.
    told = 0
    with progress, Pool(read_layer, schedule.workers) as pool:
        progress.begin(
            "exporting" if blobs else "hashing", len(tasks), sum(task.layer.size for task in tasks)
        )
        start = time.perf_counter()
        begun: dict[str, float] = {}
        for event in pool.run(tasks, by(lambda task: task.layer.directory, schedule.choose)):
            key = event.task.layer.key
            match event:
                case Started():
                    begun[key] = time.perf_counter() - start
                    progress.started(key)
                case Progressed(amount=amount):
                    progress.advanced(amount)
                case Finished(worker=worker, result=read, error=error):
                    if read is not None:
                        result.read[key] = dataclasses.replace(
                            read, begun=begun[key], worker=worker
                        )
                    elif isinstance(error, (StoreError, PermissionDenied)):
                        raise error
                    elif error is not None:
                        result.failed[key] = error
                    progress.done(key, None if error is None else str(error))
                    while told < len(tasks) and (first := tasks[told].layer.key) in result:
                        told += 1
                        if first in result.read:
                            ready(result.read[first])
    return result


def read_layer(task: Task, progress: Callable[[int], None]) -> ReadLayer:
    """Read one layer: from its record if that works, else its diff is made anew.

    Raises LayerError when neither gives the tar, StoreError when its blob cannot
    be written.
    """
    begun = time.perf_counter()
    fault = None
    if task.layer.record is not None:
        attempt = Attempt(progress)
        try:
            digest, blob = _written(task, _from_record, attempt)
            return _read(task, digest, blob, Method.RECORD, None, begun)
        except RecordError as error:
            fault = shown(str(error))
            attempt.take_back()
    try:
        digest, blob = _written(task, _made_anew, progress)
    except RecordError as error:
        reason = f"its record cannot rebuild it ({fault}), and made anew {error.message}"
        raise LayerError(reason) from None
    return _read(task, digest, blob, Method.RECOMPUTED, fault, begun)


def _read(
    task: Task,
    digest: LayerDigest,
    blob: Blob | None,
    method: Method,
    fault: str | None,
    begun: float,
) -> ReadLayer:
    seconds = time.perf_counter() - begun
    return ReadLayer(HashedLayer(task.layer.key, digest, method, fault, seconds), blob)


def _written(
    task: Task,
    stream: Callable[[Task, Callable[[int], None], Sink | None], LayerDigest],
    progress: Callable[[int], None],
) -> tuple[LayerDigest, Blob | None]:
    """The layer's digest, and the blob that the stream became.

    Raises RecordError if it is another one than the store says.
    """
    with ExitStack() as stack:
        writer: BlobWriter | None = None
        if task.blobs is not None:
            name = task.layer.key.replace(":", "-")
            writer = stack.enter_context(BlobWriter(task.blobs, name, task.compression))
        digest = stream(task, progress, None if writer is None else writer.write)
        if task.layer.diff_id not in (None, digest.diff_id):
            raise RecordError(f"its tar is {digest.diff_id}, not {task.layer.diff_id}")
        return digest, None if writer is None else writer.finish()


def _from_record(task: Task, progress: Callable[[int], None], sink: Sink | None) -> LayerDigest:
    assert task.layer.record is not None
    with task.driver.prepared(task.layer.directory):
        root = task.driver.layer_root(task.layer.directory)
        return digest_record(task.layer.record, root, progress, sink)


def _made_anew(task: Task, progress: Callable[[int], None], sink: Sink | None) -> LayerDigest:
    directory, below = task.layer.directory, task.layer.below
    with task.driver.prepared(directory, *(() if below is None else (below,))):
        source = task.driver.diff_source(directory, below)
        diff = _Diff(TarHash(progress, sink))
        write_diff(source.root, changes_of(source), diff)
        diff_id = diff.tar.finish()
    return LayerDigest(diff_id, diff.size, diff.tar.length, diff.files, diff.entries, "")


class _Diff:
    """Hashes a diff's tar (a `TarSink`), and keeps nothing of it."""

    def __init__(self, tar: TarHash) -> None:
        self.tar = tar
        self.size = self.files = self.entries = 0

    def raw(self, data: bytes) -> None:
        self.tar.write(data)

    def no_content(self, name: bytes) -> None:
        self.entries += 1

    def content(self, name: bytes, fd: int, status: os.stat_result) -> int:
        self.entries += 1
        self.files += 1
        self.size += status.st_size
        return self.tar.read(fd, status.st_size)[0]
