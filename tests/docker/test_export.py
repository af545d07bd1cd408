"""What `migrator export` makes, loaded by Docker 20.10 and by Podman; and taken out again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.docker.daemon import Daemon
from tests.docker.trees import tree
from tests.promises.test_export_trees import bottom, middle, middle_branch, top
from tests.promises.test_export_trees import store as awkward_store
from tests.stores.exported import Layout, export, tags

Unpack = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

STORE = "docker-1.9.1-overlay"


@pytest.fixture
def podman() -> Iterator[Callable[..., str]]:
    """`podman` on a store of its own."""
    # It takes no path of over 50 characters for the latter.
    with TemporaryDirectory(prefix="podman-") as directory:
        options = ["--root", f"{directory}/root", "--runroot", f"{directory}/run"]
        options += ["--tmpdir", f"{directory}/tmp", "--storage-driver", "vfs"]
        # Its locks would be in /dev/shm, and stay there.
        (configuration := Path(directory, "conf")).write_text('[engine]\nlock_type = "file"\n')
        env = {**os.environ, "CONTAINERS_CONF": str(configuration)}

        def run(*arguments: str | Path) -> str:
            command = ["podman", *options, *arguments]
            return subprocess.run(
                command, env=env, check=True, capture_output=True, text=True
            ).stdout

        yield run


@pytest.mark.parametrize("chosen", [(), ("--compression", "gzip", "twin/a", "acme/committed:v2")])
def test_podman_loads_the_same_images(
    chosen: tuple[str, ...],
    store: Unpack,
    golden: Golden,
    podman: Callable[..., str],
    tmp_path: Path,
) -> None:
    archive = tmp_path / "images.tar"
    assert export(store(STORE), archive, "--format", "docker-archive", *chosen).returncode == 0
    podman("load", "--input", archive)
    loaded = {
        # What is before a name without a registry is Podman's matter.
        name.removeprefix("localhost/"): f"sha256:{image['Id']}"
        for image in json.loads(podman("images", "--format", "json"))
        for name in image.get("Names") or ()
    }
    expected = tags(golden(STORE))
    if chosen:
        assert loaded == {name: expected[name] for name in ("twin/a:latest", "acme/committed:v2")}
    else:
        assert loaded == expected


def test_docker_loads_the_same_images_and_gives_them_out_again(
    store: Unpack, golden: Golden, tmp_path: Path
) -> None:
    plain, packed = tmp_path / "plain.tar", tmp_path / "packed.tar"
    export(store(STORE), plain, "--format", "docker-archive")
    how = ("--no-intermediate", "--compression", "gzip")
    export(store(STORE), packed, "--format", "docker-archive", *how)
    awkward_store(tmp_path / "awkward", "aufs", [bottom, middle_branch, top])
    export(tmp_path / "awkward", tmp_path / "awkward.tar", "--format", "docker-archive")
    expected = golden(STORE)
    (root := tmp_path / "root").mkdir()
    with Daemon(root, "overlay2") as daemon:
        daemon.docker("load", "--input", packed)
        assert images(daemon, "--digests=false") == tags(expected)
        daemon.docker("load", "--input", plain)
        loaded = daemon.docker("images", "--all", "--quiet", "--no-trunc").split()
        assert {i.removeprefix("sha256:") for i in loaded} == set(expected["images"])
        for image in daemon.inspect("image", *set(loaded)):
            parent = expected["image_metadata"].get(image["Id"].removeprefix("sha256:"), {})
            assert image["Parent"] == parent.get("parent", "")
        daemon.docker("load", "--input", tmp_path / "awkward.tar")
        container = daemon.docker("create", "awkward", "sh")
        daemon.docker("export", "--output", tmp_path / "awkward-files.tar", container)
        assert daemon.errors() == []
    daemon.remove()
    (files := tmp_path / "files").mkdir()
    extract = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", files]
    subprocess.run([*extract, "-xpf", tmp_path / "awkward-files.tar"], check=True)
    *_, complete = awkward_store(tmp_path / "complete", "vfs", [bottom, middle, top])
    # Docker makes it for what it mounts there.
    assert tree(files, besides={"etc"}) == tree(complete, besides=set())

    # What Docker itself has made of it now: its own store, and its own records.
    assert export(root, tmp_path / "again").returncode == 0
    again = Layout.read(tmp_path / "again")
    again.check_diff_ids()
    assert tags(expected).items() <= again.names.items()
    assert {f"sha256:{i}" for i in expected["images"]} < set(again.manifests)
    unpacked = again.unpack("awkward:latest", tmp_path / "bundle")
    assert tree(unpacked, besides=set()) == tree(complete, besides=set())
    shutil.rmtree(root)


def images(daemon: Daemon, *options: str) -> dict[str, str]:
    """`NAME:TAG` and image ID of all named images."""
    return {
        f"{row['Repository']}:{row['Tag']}": row["ID"]
        for row in daemon.table("images", *options)
        if row["Repository"] != "<none>"
    }
