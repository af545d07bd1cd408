"""Containers made from migrated images have the files that the legacy layers had."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docker.conftest import Served, in_one_worker
from tests.docker.daemon import Daemon, poll
from tests.docker.stores import OF_EACH_DRIVER
from tests.docker.trees import tree

# The stores' shell, and how it waits at a named pipe with its builtins.
_WAIT = ".wait"
_SHELL = "966578ea311c3809f1b4b9465481598835b8c4936c2faedca9b1f640b4be3c87"
_WAITING = ["-c", f"fifo /{_WAIT}; cat /{_WAIT}"]


@pytest.mark.parametrize("running", in_one_worker(OF_EACH_DRIVER), indirect=True)
def test_containers_of_every_image_see_its_files(served: Served, tmp_path: Path) -> None:
    """From inside, where the image has a shell; else as `docker export` gives them."""
    ran = 0
    for image_id in served.store.image_ids:
        image = served.store.tree(image_id)
        if _has_shell(image):
            ran += 1
            _check_running(served, image_id, image)
        else:
            _check_exported(served, image_id, image, tmp_path / image_id)
    assert ran >= len(served.store.image_ids) - 4


def _has_shell(image: Path) -> bool:
    """Whether the stores' shell is there, undamaged: some trees were changed at random."""
    try:
        return hashlib.sha256((image / "bin/sh").read_bytes()).hexdigest() == _SHELL
    except (FileNotFoundError, NotADirectoryError):
        return False


def _check_running(served: Served, image_id: str, image: Path) -> None:
    daemon = served.daemon
    options = ["--detach", "--network", "none", "--user", "0", "--entrypoint", "/bin/sh"]
    container = daemon.docker("run", *options, image_id, *_WAITING)
    try:
        (state,) = daemon.inspect("container", container)
        root = Path(f"/proc/{state['State']['Pid']}/root")
        poll(lambda: (root / _WAIT).is_fifo(), "the container's shell")
        made = _made_by_docker(daemon, image_id, image)
        assert tree(root, besides={_WAIT, *made}) == tree(image, besides=made), image_id
    finally:
        daemon.docker("rm", "--force", "--volumes", container)


def _check_exported(served: Served, image_id: str, image: Path, directory: Path) -> None:
    daemon = served.daemon
    container = daemon.docker("create", image_id, "no command of this image is run")
    try:
        archive = directory.with_suffix(".tar")
        daemon.docker("export", "--output", archive, container)
        directory.mkdir()
        extract = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
        subprocess.run(
            [*extract, "--warning=no-timestamp", "-C", directory, "-xpf", archive], check=True
        )
        made = _made_by_docker(daemon, image_id, image)
        assert tree(directory, besides=made) == tree(image, besides=made), image_id
    finally:
        daemon.docker("rm", "--volumes", container)


def _made_by_docker(daemon: Daemon, image_id: str, image: Path) -> set[str]:
    """Directories that a container's creation adds, because the image wants or lacks them."""
    (shown,) = daemon.inspect("image", image_id)
    config: dict[str, Any] = shown["Config"] or {}
    wanted = [*(config.get("Volumes") or {}), config.get("WorkingDir") or "", "/etc"]
    return {path.strip("/") for path in wanted if path and not _is_directory(image, path)}


def _is_directory(image: Path, path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(image / path.strip("/")).st_mode)
    except FileNotFoundError:
        return False
