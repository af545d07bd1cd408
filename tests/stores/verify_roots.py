"""Migrated data roots made from the golden files: laid out by hand, not by migrator."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from migrator.commands.verify import verify
from migrator.progress import Progress
from migrator.report.verification import VerificationReport
from migrator.state.manifest import Entry, Manifest


@dataclass
class GoldenRoot:
    """A legacy store to which the files of a golden result were added, and the manifest."""

    path: Path
    golden: dict[str, Any]
    driver: str
    files: dict[str, bytes] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    @property
    def image(self) -> Path:
        return self.path / "image" / self.driver

    def layer(self, chain: str) -> Path:
        return self.image / "layerdb" / "sha256" / chain

    def verify(self, *, deep: bool = False, quick: bool = False) -> VerificationReport:
        return verify(self.path, deep=deep, quick=quick, workers=2, progress=Progress())

    def paths(self, **options: bool) -> set[str]:
        return {finding.path for finding in self.verify(**options).findings}

    def forget_manifest(self) -> None:
        for name in ("phase", "manifest.json"):
            (self.path / ".migrator" / name).unlink()

    def save_manifest(self, entries: list[Entry] | None = None) -> None:
        directories = sorted(
            {str(parent) for path in self.files for parent in Path(path).parents}
            - {".", "containers", *(str(Path(p).parent) for p in self.files if "config" in p)}
        )
        ours = {"image", ".migrator", ".migration-v1-images.json", ".migration-v1-tags"}
        listing = sorted(set(os.listdir(self.path)) - ours)
        entries = self.entries if entries is None else entries
        Manifest(self.driver, entries, directories, listing).save(
            self.path / ".migrator" / "manifest.json"
        )


def build(root: Path, golden: dict[str, Any], driver: str | None = None) -> GoldenRoot:
    """Add what `golden` lists to the legacy store `root`."""
    made = GoldenRoot(root, golden, driver or golden["driver"])
    base = f"image/{made.driver}"
    files = made.files
    for name, config in golden["images"].items():
        files[f"{base}/imagedb/content/sha256/{name}"] = _bytes(config)
    for name, parts in golden["image_metadata"].items():
        for part, text in parts.items():
            files[f"{base}/imagedb/metadata/sha256/{name}/{part}"] = _bytes(text)
    for name, layer in golden["layers"].items():
        for part in set(layer["files"]) - {"tar-split.json.gz"}:
            files[f"{base}/layerdb/sha256/{name}/{part}"] = _bytes(layer[part])
        record = root / "graph" / layer["cache-id"] / "tar-data.json.gz"
        files[f"{base}/layerdb/sha256/{name}/tar-split.json.gz"] = record.read_bytes()
    for name, parts in golden["mounts"].items():
        for part, text in parts.items():
            files[f"{base}/layerdb/mounts/{name}/{part}"] = _bytes(text)
    for path, text in golden["distribution"].items():
        files[f"{base}/distribution/{path}"] = _bytes(text)
    files[f"{base}/repositories.json"] = json.dumps(golden["repositories"]).encode()
    for name, config in golden["containers"].items():
        if config is not None:
            files[f"containers/{name}/config.v2.json"] = _bytes(config)
    for name, links in golden["links"].items():
        if links is not None:
            path = f"containers/{name}/hostconfig.json"
            value = json.dumps(links, separators=(",", ":")).encode()
            before = (root / path).read_bytes()
            files[path] = before.replace(b'"Links":null', b'"Links":' + value)
            saved = root / ".migrator" / "saved" / path
            saved.parent.mkdir(parents=True)
            (root / path).rename(saved)
    files[".migration-v1-images.json"] = json.dumps(golden["id_map"]).encode()
    files[".migration-v1-tags"] = b""
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        status = target.stat()
        saved = root / ".migrator" / "saved" / path
        replaced = blake3(saved.read_bytes()).hexdigest() if saved.exists() else None
        digest = blake3(data).hexdigest()
        made.entries.append(Entry(path, digest, 0o644, status.st_ino, status.st_mtime_ns, replaced))
    (root / ".migrator" / "phase").write_text("published")
    made.save_manifest()
    return made


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
