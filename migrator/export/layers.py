"""Reading the layers to export, each once, in worker processes: digests and blobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from migrator.drivers import Driver
from migrator.errors import LayerError, MigratorError, RecordError
from migrator.export.blobs import Blob, BlobWriter
from migrator.export.compression import Compression
from migrator.layer.difftar import write_diff
from migrator.layer.digest import HashedLayer, LayerDigest, Method, digest_record
from migrator.layer.recompute import changes_of
from migrator.layer.tarhash import Sink, TarHash
from migrator.layer.worker_loop import each_layer
from migrator.progress import Progress
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

    @property
    def name(self) -> str:
        """What progress calls the layer."""
        return self.key

    @property
    def layer_id(self) -> str:
        """The driver's name of the layer."""
        return self.directory

    @property
    def parent_id(self) -> str | None:
        """The driver's name of the layer below."""
        return self.below


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


@dataclass(slots=True)
class Layers:
    """Layers by key: those that could be read, and what was wrong with the others."""

    read: dict[str, ReadLayer] = field(default_factory=dict)
    failed: dict[str, MigratorError] = field(default_factory=dict)

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
    layers = sorted(layers, key=lambda layer: (-layer.size, layer.key))
    result = Layers()
    if not layers:
        return result
    what, job = "exporting" if blobs else "hashing", LayerReading(driver, blobs, compression)
    # How many of the layers `ready` has been told of.
    told = 0
    for done in each_layer(what, layers, job, driver, workers, progress):
        key = done.task.key
        if done.result is not None:
            result.read[key] = replace(done.result, begun=done.begun, worker=done.worker)
        elif done.error is not None:
            result.failed[key] = done.error
        while told < len(layers) and (first := layers[told].key) in result:
            told += 1
            if first in result.read:
                ready(result.read[first])
    return result


@dataclass(frozen=True, slots=True)
class LayerReading:
    """How layers of `driver`, which must be opened, are read.

    With `blobs`, a directory, their tars go there, compressed.
    """

    driver: Driver
    blobs: Path | None
    compression: Compression

    def __call__(self, layer: Layer, progress: Callable[[int], None]) -> ReadLayer:
        """Read one layer: from its record if that works, else its diff is made anew.

        Raises LayerError when neither gives the tar, StoreError when its blob cannot
        be written.
        """
        begun = time.perf_counter()
        fault = None
        if layer.record is not None:
            attempt = Attempt(progress)
            try:
                digest, blob = self._written(layer, self._from_record, attempt)
                return _read(layer, digest, blob, Method.RECORD, None, begun)
            except RecordError as error:
                fault = shown(str(error))
                attempt.take_back()
        try:
            digest, blob = self._written(layer, self._made_anew, progress)
        except RecordError as error:
            reason = f"its record cannot rebuild it ({fault}), and made anew {error.message}"
            raise LayerError(reason) from None
        return _read(layer, digest, blob, Method.RECOMPUTED, fault, begun)

    def _written(
        self,
        layer: Layer,
        stream: Callable[[Layer, Callable[[int], None], Sink | None], LayerDigest],
        progress: Callable[[int], None],
    ) -> tuple[LayerDigest, Blob | None]:
        """The layer's digest, and the blob that the stream became.

        Raises RecordError if it is another one than the store says.
        """
        with ExitStack() as stack:
            writer: BlobWriter | None = None
            if self.blobs is not None:
                name = layer.key.replace(":", "-")
                writer = stack.enter_context(BlobWriter(self.blobs, name, self.compression))
            digest = stream(layer, progress, None if writer is None else writer.write)
            if layer.diff_id not in (None, digest.diff_id):
                raise RecordError(f"its tar is {digest.diff_id}, not {layer.diff_id}")
            return digest, None if writer is None else writer.finish()

    def _from_record(
        self, layer: Layer, progress: Callable[[int], None], sink: Sink | None
    ) -> LayerDigest:
        assert layer.record is not None
        with self.driver.prepared(layer.directory):
            root = self.driver.layer_root(layer.directory)
            return digest_record(layer.record, root, progress, sink)

    def _made_anew(
        self, layer: Layer, progress: Callable[[int], None], sink: Sink | None
    ) -> LayerDigest:
        directory, below = layer.directory, layer.below
        with self.driver.prepared(directory, *(() if below is None else (below,))):
            source = self.driver.diff_source(directory, below)
            diff = _Diff(TarHash(progress, sink))
            write_diff(source.root, changes_of(source), diff)
            diff_id = diff.tar.finish()
        return LayerDigest(diff_id, diff.size, diff.tar.length, diff.files, diff.entries, "")


def _read(
    layer: Layer,
    digest: LayerDigest,
    blob: Blob | None,
    method: Method,
    fault: str | None,
    begun: float,
) -> ReadLayer:
    seconds = time.perf_counter() - begun
    return ReadLayer(HashedLayer(layer.key, digest, method, fault, seconds), blob)


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
