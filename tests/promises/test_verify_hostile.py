"""`verify` on data roots that were made to harm it: findings, and nothing but findings."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from migrator.commands.verify import verify
from migrator.layer.identity import chain_id
from migrator.progress import Progress
from tests.stores.verify_roots import GoldenRoot, build


@pytest.fixture
def root(store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]) -> GoldenRoot:
    return build(store_copy("docker-1.9.1-overlay"), golden("docker-1.9.1-overlay"))


def samples(root: GoldenRoot) -> list[str]:
    """One published file of each kind."""
    kinds = {}
    for path in root.files:
        parts = path.split("/")
        kinds[(*parts[:4], parts[-1] if len(parts[-1]) < 64 else "")] = path
    return list(kinds.values())


def to_link(path: Path) -> None:
    kept = path.with_name("..kept") if "sha256" not in path.parent.name else Path("/etc/hostname")
    if not kept.exists():
        path.rename(kept)
    path.unlink(missing_ok=True)
    path.symlink_to(kept)


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_hole(path: Path) -> None:
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("change", [to_link, to_fifo, to_directory], ids=lambda c: c.__name__)
@pytest.mark.parametrize("manifest", [True, False])
def test_a_metadata_file_that_is_none(
    root: GoldenRoot, change: Callable[[Path], None], manifest: bool
) -> None:
    if not manifest:
        root.forget_manifest()
    for path in samples(root):
        change(root.path / path)
        found = [finding for finding in root.verify(quick=True).findings if finding.path == path]
        if manifest or not path.startswith(".migration-v1-tags"):
            assert found, path


def test_a_metadata_file_without_end(root: GoldenRoot) -> None:
    root.forget_manifest()
    paths = [path for path in samples(root) if not path.endswith(".gz")]
    for path in paths:
        to_hole(root.path / path)
    assert set(paths) <= root.paths(quick=True)


@pytest.mark.parametrize(
    "document",
    [b"[" * 10**6, b'{"a":' * 10**6, b"9" * 10**5, b"NaN", b""],
    ids=["lists", "objects", "digits", "NaN", "nothing"],
)
def test_json_that_is_hard_to_read(root: GoldenRoot, document: bytes) -> None:
    root.forget_manifest()
    names = [name for name in samples(root) if name.endswith(".json")]
    for name in names:
        (root.path / name).write_bytes(document)
    assert set(names) <= root.paths(quick=True)


@pytest.mark.parametrize(
    "above", ["image/overlay/layerdb/sha256", "image/overlay/imagedb", "overlay", "containers"]
)
@pytest.mark.parametrize("manifest", [True, False])
def test_a_directory_that_leads_elsewhere(root: GoldenRoot, above: str, manifest: bool) -> None:
    elsewhere = root.path.with_name("elsewhere")
    (root.path / above).rename(elsewhere)
    (root.path / above).symlink_to(elsewhere)
    if not manifest:
        root.forget_manifest()
    report = root.verify()
    assert report.findings
    assert not any("elsewhere" in str(finding) for finding in report.findings)
    if above != "overlay":
        assert any("is a symbolic link" in finding.reason for finding in report.findings)


@pytest.mark.parametrize("cache_id", ["../../etc", "..", "a/b", "/etc", "", "x" * 200, "\0"])
def test_a_cache_id_that_leads_elsewhere(root: GoldenRoot, cache_id: str) -> None:
    root.forget_manifest()
    chain = next(iter(root.golden["layers"]))
    (root.layer(chain) / "cache-id").write_text(cache_id)
    found = {finding.path: finding.reason for finding in root.verify(quick=True).findings}
    assert "is no cache-id" in found[f"image/overlay/layerdb/sha256/{chain}/cache-id"]


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "image/../../secret", "", "a//b", "a\0b"]
)
def test_a_manifest_that_leads_elsewhere(root: GoldenRoot, path: str) -> None:
    (root.path.parent / "secret").write_bytes(root.files[".migration-v1-tags"])
    root.save_manifest([replace(entry, path=path) for entry in root.entries[:1]])
    assert ".migrator/manifest.json" in root.paths(quick=True)


@pytest.mark.parametrize("values", [{"path": 1}, {"inode": "x"}, {"blake3": None}], ids=str)
def test_a_manifest_of_other_types(root: GoldenRoot, values: dict[str, Any]) -> None:
    root.save_manifest([replace(root.entries[0], **values)])
    assert root.paths(quick=True) == {".migrator/manifest.json"}


@pytest.mark.parametrize("document", ['{"files":1}', '{"listing":1}', '{"files":[1]}', "[]", "{}"])
def test_a_manifest_of_another_shape(root: GoldenRoot, document: str) -> None:
    manifest = root.path / ".migrator" / "manifest.json"
    whole = json.loads(manifest.read_text())
    del whole["seal"]
    values = json.loads(document)
    body = json.dumps(whole | values if values else values, indent=2)
    sealed = body[:-2] + ',\n  "seal": "' + blake3(body.encode()).hexdigest() + '"\n}'
    manifest.write_text(sealed)
    assert root.paths(quick=True) == {".migrator/manifest.json"}


def test_a_container_that_leads_elsewhere(root: GoldenRoot) -> None:
    name = "f" * 64
    (root.path / "containers" / name).symlink_to("/etc")
    assert root.paths(quick=True) == {
        f"containers/{name}/config.v2.json",
        f"containers/{name}/hostconfig.json",
    }


@pytest.mark.parametrize("name", ["phase", "manifest.json"])
def test_a_state_directory_that_blocks(root: GoldenRoot, name: str) -> None:
    to_fifo(root.path / ".migrator" / name)
    assert root.paths(quick=True) == {".migrator/phase"}


def test_a_chain_of_many_layers(tmp_path: Path) -> None:
    record = gzip.compress(json.dumps({"type": 2, "payload": "AAAA", "position": 0}).encode())
    diff = "sha256:" + hashlib.sha256(bytes(3)).hexdigest()
    layers = tmp_path / "image" / "vfs" / "layerdb" / "sha256"
    parent, diffs = None, []
    for number in range(1200):
        chain = chain_id(parent, diff)
        directory = layers / chain.removeprefix("sha256:")
        directory.mkdir(parents=True)
        for name, text in (("diff", diff), ("size", "0"), ("cache-id", f"{number:064x}")):
            (directory / name).write_text(text)
        if parent is not None:
            (directory / "parent").write_text(parent)
        (directory / "tar-split.json.gz").write_bytes(record)
        (tmp_path / "vfs" / "dir" / f"{number:064x}").mkdir(parents=True)
        parent = chain
        diffs.append(diff)
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diffs}}).encode()
    content = tmp_path / "image" / "vfs" / "imagedb" / "content" / "sha256"
    content.mkdir(parents=True)
    (content / hashlib.sha256(config).hexdigest()).write_bytes(config)
    report = verify(tmp_path, deep=True, quick=False, workers=1, progress=Progress())
    assert report.findings == ()
    assert (report.layers, report.images) == (1200, 1)


def test_directories_deeper_than_a_process_has_descriptors(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = build(store_copy("docker-1.9.1-aufs"), golden("docker-1.9.1-aufs"))
    layer = next(iter(root.golden["layers"].values()))
    # What is aufs's own is walked through, and no fault.
    directory = root.path / "aufs" / "diff" / layer["cache-id"] / ".wh..wh.plnk"
    directory.mkdir(exist_ok=True)
    at = os.open(directory, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    try:
        assert root.verify(deep=True).findings == ()
    finally:
        # Python's own removal of trees would not get to the bottom.
        subprocess.run(["rm", "-rf", directory], check=True)
