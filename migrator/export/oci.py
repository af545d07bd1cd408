"""An OCI image layout (image-spec 1.1, `image-layout.md`): a directory of blobs and an index.

Names stand at the index's entries, one entry a name: `org.opencontainers.image.ref.name`
is what skopeo, podman and umoci look for (`oci:DIR:NAME:TAG`), `io.containerd.image.name`
the full name that containerd and Docker take. An image without a name has its image ID
as the former, because a reader has no other way to say which one of several it means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from migrator.export.blobs import Blob, write_blob, write_file
from migrator.export.compression import Algorithm, Compression
from migrator.export.layers import ReadLayer
from migrator.export.naming import full_name
from migrator.export.source import Image
from migrator.system import disk

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_SUFFIXES = {Algorithm.NONE: "", Algorithm.GZIP: "+gzip", Algorithm.ZSTD: "+zstd"}

_REF_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"

LAYOUT = ("blobs", "oci-layout", "index.json")
"""What is in a layout's directory, in the order in which it may appear there."""


class OciLayout:
    """Makes a layout in the empty directory `root`. Raises StoreError."""

    def __init__(self, root: Path, compression: Compression) -> None:
        self._root = root
        self._layer_type = _LAYER + _SUFFIXES[compression.algorithm]
        self._layers: dict[str, Blob] = {}
        self.blobs = root / "blobs" / "sha256"
        for directory in (root / "blobs", self.blobs):
            disk.make_directory(directory, 0o777)

    def add_layer(self, layer: ReadLayer) -> None:
        """A layer's blob is in `blobs`."""
        assert layer.blob is not None
        self._layers[layer.diff_id] = layer.blob

    def finish(self, images: list[Image]) -> None:
        """All layers are there: write the rest, and remove blobs of layers that no image has."""
        entries: list[dict[str, Any]] = []
        kept: set[str] = set()
        for image in images:
            config = write_blob(self.blobs, image.config)
            layers = [self._layers[diff_id] for diff_id in image.diff_ids]
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor(_CONFIG, config),
                "layers": [_descriptor(self._layer_type, layer) for layer in layers],
            }
            blob = write_blob(self.blobs, orjson.dumps(manifest))
            kept |= {each.path(self.blobs).name for each in (config, blob, *layers)}
            entries += [
                {**_descriptor(_MANIFEST, blob), "annotations": annotations}
                for annotations in _annotations(image)
            ]
        with disk.operation("list", self.blobs):
            superfluous = [path for path in self.blobs.iterdir() if path.name not in kept]
        for path in superfluous:
            disk.remove_file(path)
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}
        write_file(self._root / "oci-layout", orjson.dumps({"imageLayoutVersion": "1.0.0"}))
        write_file(self._root / "index.json", orjson.dumps(index))


def _descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _annotations(image: Image) -> list[dict[str, str]]:
    if not image.names:
        return [{_REF_NAME: image.image_id}]
    return [{_CONTAINERD_NAME: full_name(name), _REF_NAME: name} for name in image.names]
