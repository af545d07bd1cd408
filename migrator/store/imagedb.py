"""`image/<driver>/imagedb/`: image configs and their metadata (Docker 1.10 `image/fs.go`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from migrator.errors import FormatError, Subject
from migrator.layer.identity import SHA256, chain_of, hex_part, sha256_digest
from migrator.store.findings import Finding, Findings
from migrator.store.layerdb import LayerStore
from migrator.store.layout import LAST_UPDATED, PARENT, TOP, Layout
from migrator.store.lines import DIGEST, HEX, line
from migrator.store.stage import Stage
from migrator.system.rootfiles import RootFiles, json_object


class ImageDB:
    """Adds images to a stage.

    Two v1 images can end in one image ID; the parent of the last one counts,
    so parents are written at the end, by `finish`.
    """

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._layout = Layout(driver)
        self._added: set[str] = set()
        self._parents: dict[str, str] = {}

    def add(self, config: bytes, parent: str | None) -> str:
        """Add the image with this config on the image `parent`; returns its image ID."""
        image_id = sha256_digest(config)
        path = self._layout.config(image_id)
        if image_id not in self._added and not self._staging.present(path):
            self._staging.write(path, config)
        self._added.add(image_id)
        if parent is not None:
            self._parents[image_id] = parent
        return image_id

    def finish(self) -> None:
        """Write the parents; one that the data root has already stays."""
        for image_id, parent in self._parents.items():
            path = self._layout.parent(image_id)
            if not self._staging.present(path):
                self._staging.write(path, parent.encode())


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image: its diffIDs, bottom first, their chainID (None without layers), its parent."""

    diff_ids: tuple[str, ...]
    chain: str | None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class ImageStore:
    """All images by image ID: those `present`, and of them those that are well-formed."""

    present: frozenset[str]
    images: dict[str, StoredImage]
    findings: tuple[Finding, ...] = ()


def read_images(files: RootFiles, driver: str, layers: LayerStore) -> ImageStore:
    """Read image configs, which rest on `layers`, and then their metadata."""
    findings = Findings()
    layout = Layout(driver)
    present: set[str] = set()
    images: dict[str, StoredImage] = {}
    for name in files.names(layout.configs):
        path = f"{layout.configs}/{name}"
        if HEX.fullmatch(name) is None:
            findings.add(Subject.IMAGE, name, path, "the name is no image ID")
            continue
        image_id = SHA256 + name
        present.add(image_id)
        with findings.noting(Subject.IMAGE, image_id, path):
            image = _image(files.read(path), image_id)
            if image.chain is not None and image.chain not in layers.present:
                raise FormatError(f"its layer {image.chain} is not there")
            images[image_id] = image
    parents = _read_metadata(files, layout, present, images, findings)
    for image_id, parent in parents.items():
        if image_id in images:
            images[image_id] = dataclasses.replace(images[image_id], parent=parent)
    return ImageStore(frozenset(present), images, tuple(findings))


def image_ids(files: RootFiles, driver: str) -> frozenset[str]:
    """The IDs of all images of a driver's store, whatever is wrong with them."""
    names = files.names(Layout(driver).configs)
    return frozenset(SHA256 + name for name in names if HEX.fullmatch(name))


def images_elsewhere(files: RootFiles, driver: str) -> list[frozenset[str]]:
    """The image IDs in each store of another driver than `driver`."""
    others = (name for name in files.names(TOP) if name != driver)
    return [image_ids(files, name) for name in others if files.is_directory(Layout(name).configs)]


def read_config(files: RootFiles, driver: str, image_id: str) -> bytes:
    """An image's config. Raises FormatError when it is not what its ID says."""
    config = files.read(Layout(driver).config(image_id))
    if (actual := sha256_digest(config)) != image_id:
        raise FormatError(f"its content is that of {actual}")
    return config


def _image(config: bytes, image_id: str) -> StoredImage:
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


def _read_metadata(
    files: RootFiles,
    layout: Layout,
    present: set[str],
    images: dict[str, StoredImage],
    findings: Findings,
) -> dict[str, str]:
    """The parents of images; what is wrong with the metadata goes to `findings`."""
    parents: dict[str, str] = {}
    for name in files.names(layout.metadata):
        image_id, path = SHA256 + name, f"{layout.metadata}/{name}"
        if image_id not in present:
            findings.add(Subject.IMAGE, image_id, path, "is metadata of an image that is not there")
            continue
        with findings.noting(Subject.IMAGE, image_id, path):
            for part in files.names(path):
                with findings.noting(Subject.IMAGE, image_id, f"{path}/{part}"):
                    if part == PARENT:
                        parent = line(files, f"{path}/{PARENT}", DIGEST, "image ID")
                        parents[image_id] = parent
                        _check_parent(present, images, image_id, parent)
                    elif part != LAST_UPDATED:
                        raise FormatError("does not belong here")
    return parents


def _check_parent(
    present: set[str], images: dict[str, StoredImage], image_id: str, parent: str
) -> None:
    if parent not in present:
        raise FormatError(f"the parent {hex_part(parent)} is not there")
    image, other = images.get(image_id), images.get(parent)
    if image and other and image.diff_ids[: len(other.diff_ids)] != other.diff_ids:
        raise FormatError(f"the layers do not begin with those of the parent {hex_part(parent)}")
