"""Looking at what `migrator export` made, with other people's tools."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.command import migrator

_CONTAINERD = "io.containerd.image.name"
_REF = "org.opencontainers.image.ref.name"


def export(root: Path, output: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`migrator export` of a data root."""
    return migrator("export", "-g", root, "-o", output, "--progress", "none", *arguments)


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI image layout, every blob of which is what its name says."""

    root: Path
    blobs: dict[str, bytes]

    @classmethod
    def read(cls, root: Path) -> Layout:
        assert {path.name for path in root.iterdir()} == {"blobs", "index.json", "oci-layout"}
        assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
        blobs = {f"sha256:{p.name}": p.read_bytes() for p in (root / "blobs/sha256").iterdir()}
        assert all(digest == sha256(content) for digest, content in blobs.items())
        layout = cls(root, blobs)
        used = {entry["digest"] for entry in layout.index}
        for manifest in layout.manifests.values():
            for descriptor in (manifest["config"], *manifest["layers"]):
                assert descriptor["size"] == len(blobs[descriptor["digest"]])
                used.add(descriptor["digest"])
        assert used == blobs.keys()
        return layout

    @property
    def index(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads((self.root / "index.json").read_text())[
            "manifests"
        ]
        return entries

    @property
    def manifests(self) -> dict[str, dict[str, Any]]:
        """By image ID."""
        found = {}
        for entry in self.index:
            manifest = json.loads(self.blobs[entry["digest"]])
            found[manifest["config"]["digest"]] = manifest
        return found

    @property
    def names(self) -> dict[str, str]:
        """`org.opencontainers.image.ref.name` to image ID."""
        return {
            entry["annotations"][_REF]: json.loads(self.blobs[entry["digest"]])["config"]["digest"]
            for entry in self.index
        }

    @property
    def full_names(self) -> dict[str, str | None]:
        """`org.opencontainers.image.ref.name` to `io.containerd.image.name`."""
        return {
            entry["annotations"][_REF]: entry["annotations"].get(_CONTAINERD)
            for entry in self.index
        }

    def config(self, image_id: str) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.blobs[image_id])
        return config

    def check_diff_ids(self) -> None:
        """Every gzip'd layer unpacks to its diffID."""
        for image_id, manifest in self.manifests.items():
            unpacked = [
                sha256(gzip.decompress(self.blobs[layer["digest"]])) for layer in manifest["layers"]
            ]
            assert unpacked == self.config(image_id)["rootfs"]["diff_ids"]

    def unpack(self, name: str, bundle: Path) -> Path:
        """What umoci makes of an image: its complete tree."""
        image = f"{self.root}:{name}"
        command = ["umoci", "unpack", "--image", image, bundle]
        subprocess.run(command, check=True, capture_output=True)
        return bundle / "rootfs"


def contents(directory: Path) -> dict[str, bytes]:
    """The files below a directory by relative path."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def tags(golden: dict[str, Any]) -> dict[str, str]:
    """All `NAME:TAG` that Docker's migration knew, with their image's ID."""
    repositories = golden["repositories"]["Repositories"]
    return {
        key: image_id
        for keys in repositories.values()
        for key, image_id in keys.items()
        if "@" not in key
    }


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def read_only(root: Path, point: Path) -> Iterator[Path]:
    """The same directory, mounted so that nobody can write there."""
    point.mkdir()
    subprocess.run(["mount", "--bind", root, point], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", point], check=True)
        yield point
    finally:
        subprocess.run(["umount", point], check=True)
