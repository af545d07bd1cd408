"""`image/<driver>/imagedb/`: image configs and their metadata (Docker 1.10 `image/fs.go`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from migrator.errors import FormatError, Subject
from migrator.layer.identity import SHA256, chain_of, hex_part, sha256_digest
from migrator.system.rootfiles import RootFiles, json_object
from migrator.verification.findings import Findings
from migrator.verification.layers import DIGEST, HEX, LayerStore, line


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image: its diffIDs, bottom first, and their chainID (None without layers)."""

    diff_ids: tuple[str, ...]
    chain: str | None


@dataclass(frozen=True, slots=True)
class ImageStore:
    """All images by image ID: those `present`, and of them those that are well-formed."""

    present: frozenset[str]
    images: dict[str, StoredImage]


def read_images(files: RootFiles, driver: str, store: LayerStore, findings: Findings) -> ImageStore:
    """Read and check image configs, then their metadata."""
    base = f"image/{driver}/imagedb/content/sha256"
    present: set[str] = set()
    images: dict[str, StoredImage] = {}
    for name in files.names(base):
        path = f"{base}/{name}"
        if HEX.fullmatch(name) is None:
            findings.add(Subject.IMAGE, name, path, "the name is no image ID")
            continue
        image_id = SHA256 + name
        present.add(image_id)
        with findings.noting(Subject.IMAGE, image_id, path):
            image = _read(files.read(path), image_id)
            if image.chain is not None and image.chain not in store.present:
                raise FormatError(f"its layer {image.chain} is not there")
            images[image_id] = image
    _check_metadata(files, driver, ImageStore(frozenset(present), images), findings)
    return ImageStore(frozenset(present), images)


def images_elsewhere(files: RootFiles, driver: str) -> list[frozenset[str]]:
    """The image IDs in each store of another driver than `driver`."""
    paths = (f"image/{name}/imagedb/content/sha256" for name in files.names("image"))
    mine = f"image/{driver}/"
    return [
        frozenset(SHA256 + name for name in files.names(path))
        for path in paths
        if not path.startswith(mine) and files.is_directory(path)
    ]


def _read(config: bytes, image_id: str) -> StoredImage:
    actual = sha256_digest(config)
    if actual != image_id:
        raise FormatError(f"its content is that of {actual}")
    values = json_object(config)
    rootfs = values.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise FormatError("has no rootfs of layers")
    diff_ids: Any = rootfs.get("diff_ids") or []
    if not isinstance(diff_ids, list) or not all(
        isinstance(diff_id, str) and DIGEST.fullmatch(diff_id) for diff_id in diff_ids
    ):
        raise FormatError("has diff_ids that are no digests")
    history: Any = values.get("history") or []
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise FormatError("has no list of objects as history")
    filled = sum(not entry.get("empty_layer") for entry in history)
    if filled > len(diff_ids):
        raise FormatError(f"has {filled} layers in its history, but {len(diff_ids)} diff_ids")
    return StoredImage(tuple(diff_ids), chain_of(diff_ids))


def _check_metadata(files: RootFiles, driver: str, store: ImageStore, findings: Findings) -> None:
    base = f"image/{driver}/imagedb/metadata/sha256"
    for name in files.names(base):
        image_id, path = SHA256 + name, f"{base}/{name}"
        if image_id not in store.present:
            findings.add(Subject.IMAGE, image_id, path, "is metadata of an image that is not there")
            continue
        with findings.noting(Subject.IMAGE, image_id, path):
            for part in files.names(path):
                with findings.noting(Subject.IMAGE, image_id, f"{path}/{part}"):
                    if part == "parent":
                        parent = line(files, f"{path}/parent", DIGEST, "image ID")
                        _check_parent(store, image_id, parent)
                    elif part != "lastUpdated":
                        raise FormatError("does not belong here")


def _check_parent(store: ImageStore, image_id: str, parent: str) -> None:
    if parent not in store.present:
        raise FormatError(f"the parent {hex_part(parent)} is not there")
    image, other = store.images.get(image_id), store.images.get(parent)
    if image and other and image.diff_ids[: len(other.diff_ids)] != other.diff_ids:
        raise FormatError(f"the layers do not begin with those of the parent {hex_part(parent)}")
