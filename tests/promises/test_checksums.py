"""`migrator checksums`: what a Docker 1.10 daemon finds in `graph/`."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import dump, migrator, snapshot


@pytest.mark.parametrize("name", ["docker-1.9.1-aufs", "docker-1.7.1-overlay"])
def test_helper_files_hold_the_golden_digests(
    name: str, store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = store_copy(name)
    before = snapshot(root)
    expected = golden(name)

    assert migrator("checksums", "-g", root, "-q").returncode == 0

    by_cache_id = {layer["cache-id"]: layer for layer in expected["layers"].values()}
    for v1_id in expected["id_map"]:
        directory = root / "graph" / v1_id
        diff_id = (directory / ".migration-diffid").read_text()
        if v1_id in by_cache_id:
            layer = by_cache_id[v1_id]
            assert diff_id == layer["diff"]
            assert (directory / ".migration-size").read_text() == layer["size"]
            record = gzip.decompress((directory / ".migration-tardata").read_bytes())
            assert hashlib.sha256(record).hexdigest() == layer["tar-split.sha256"]
        else:
            # A duplicate: its diffID is that of a layer that is in the golden result.
            assert diff_id in {layer["diff"] for layer in expected["layers"].values()}

    assert migrator("checksums", "-g", root, "--undo", "-q").returncode == 0
    assert snapshot(root) == before


def test_wrong_helper_files_are_not_believed(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = store_copy("docker-1.9.1-overlay-pulled")
    expected = golden("docker-1.9.1-overlay-pulled")
    for v1_id in expected["id_map"]:
        (root / "graph" / v1_id / ".migration-diffid").write_text("sha256:" + "0" * 64)
        (root / "graph" / v1_id / ".migration-size").write_text("1")

    assert migrator("checksums", "-g", root, "-q").returncode == 0
    for layer in expected["layers"].values():
        helper = root / "graph" / layer["cache-id"] / ".migration-diffid"
        assert helper.read_text() == layer["diff"]

    run = migrator("migrate", "-g", root, "--progress", "none")
    assert f"kept        {len(expected['id_map'])} layers" in run.stdout
    assert dump(root, "overlay") == expected
