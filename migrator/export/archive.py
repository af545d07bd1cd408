"""An archive for `docker load` (Docker >= 1.10) and `podman load`: one tar.

What they read is `manifest.json`, which names configs and layers by their paths in the
archive (Docker image/tarexport; containers/image docker/internal/tarfile).
"""

from __future__ import annotations

import tarfile
from io import FileIO
from pathlib import Path
from typing import Any

import orjson

from migrator.export.blobs import write_all
from migrator.export.compression import Algorithm, Compression
from migrator.export.layers import ReadLayer
from migrator.export.source import Image
from migrator.layer.identity import hex_part
from migrator.system import disk

_SUFFIXES = {Algorithm.NONE: ".tar", Algorithm.GZIP: ".tar.gz"}
_BUFFER = 1 << 20


class DockerArchive:
    """Writes an archive to `out`, which is not sought in; layers as they come from `blobs`.

    `path` is what messages call it. Raises StoreError.
    """

    def __init__(self, out: FileIO, path: Path, blobs: Path, compression: Compression) -> None:
        self._out = out
        self._path = path
        self._suffix = _SUFFIXES[compression.algorithm]
        self._layers: set[str] = set()
        self.blobs = blobs

    def add_layer(self, layer: ReadLayer) -> None:
        """A layer's blob is in `blobs`: take it from there."""
        assert layer.blob is not None
        blob = layer.blob.path(self.blobs)
        # Layers with one diffID are one, whose file may be taken already.
        if layer.diff_id not in self._layers:
            self._layers.add(layer.diff_id)
            with disk.operation("write", self._path), blob.open("rb", buffering=0) as content:
                self._header(self._layer_path(layer.diff_id), layer.blob.size)
                while block := content.read(_BUFFER):
                    self._write(block)
                self._write(bytes(-layer.blob.size % tarfile.BLOCKSIZE))
        disk.remove_file(blob)

    def finish(self, images: list[Image]) -> None:
        """All layers are there: write the rest."""
        exported = {image.image_id for image in images}
        manifest = [self._entry(image, exported) for image in images]
        with disk.operation("write", self._path):
            for image in images:
                self._file(_config_path(image), image.config)
            self._file("manifest.json", orjson.dumps(manifest))
            self._write(bytes(2 * tarfile.BLOCKSIZE))

    def _entry(self, image: Image, exported: set[str]) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "Config": _config_path(image),
            "RepoTags": list(image.names) or None,
            "Layers": [self._layer_path(diff_id) for diff_id in image.diff_ids],
        }
        if image.parent in exported:
            entry["Parent"] = image.parent
        return entry

    def _layer_path(self, diff_id: str) -> str:
        return hex_part(diff_id) + self._suffix

    def _file(self, name: str, content: bytes) -> None:
        self._header(name, len(content))
        self._write(content + bytes(-len(content) % tarfile.BLOCKSIZE))

    def _header(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size = size
        # Sizes of 8 GiB and more, which plain ustar has no room for.
        self._write(info.tobuf(tarfile.GNU_FORMAT))

    def _write(self, data: bytes) -> None:
        write_all(self._out, data)


def _config_path(image: Image) -> str:
    return f"{hex_part(image.image_id)}.json"
