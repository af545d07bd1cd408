"""What a daemon shows of an image, compared with the image's files as they were."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.docker.daemon import Daemon, poll
from tests.docker.stores import Store
from tests.docker.trees import tree

# The stores' shell, and how it waits at a named pipe with its builtins.
_WAIT = ".wait"
_SHELL = "966578ea311c3809f1b4b9465481598835b8c4936c2faedca9b1f640b4be3c87"
_WAITING = ["-c", f"fifo /{_WAIT}; cat /{_WAIT}"]


def has_shell(image: Path) -> bool:
    """Whether the stores' shell is there, undamaged: some trees were changed at random."""
    try:
        return hashlib.sha256((image / "bin/sh").read_bytes()).hexdigest() == _SHELL
    except (FileNotFoundError, NotADirectoryError):
        return False


def check_running(daemon: Daemon, image_id: str, image: Path, *, links: bool = True) -> None:
    """Check what a container sees from inside."""
    options = ["--detach", "--network", "none", "--user", "0", "--entrypoint", "/bin/sh"]
    container = daemon.docker("run", *options, image_id, *_WAITING)
    try:
        (state,) = daemon.inspect("container", container)
        root = Path(f"/proc/{state['State']['Pid']}/root")
        poll(lambda: (root / _WAIT).is_fifo(), "the container's shell")
        made = _made_by_docker(daemon, image_id, image)
        inside = tree(root, besides={_WAIT, *made}, links=links)
        assert inside == tree(image, besides=made, links=links), image_id
    finally:
        daemon.docker("rm", "--force", "--volumes", container)


def check_exported(
    daemon: Daemon, image_id: str, image: Path, directory: Path, *, links: bool = True
) -> None:
    """Check what `docker export` gives out of a container, in a new `directory`."""
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
        exported = tree(directory, besides=made, links=links)
        assert exported == tree(image, besides=made, links=links), image_id
    finally:
        daemon.docker("rm", "--volumes", container)


def check_mounted(
    daemon: Daemon, image_id: str, image: Path, point: Path, *, links: bool = True
) -> None:
    """Check what the daemon would mount for a container on overlay2, at the directory `point`."""
    (shown,) = daemon.inspect("image", image_id)
    data = shown["GraphDriver"]["Data"]
    lower = ":".join(filter(None, (data["UpperDir"], data.get("LowerDir"))))
    # One directory alone is no overlay.
    options = f"lowerdir={lower}" if ":" in lower else f"lowerdir={lower}:{point}"
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", point], check=True)
    try:
        assert tree(point, besides=set(), links=links) == tree(image, besides=set(), links=links)
    finally:
        subprocess.run(["umount", point], check=True)


def check_saved(daemon: Daemon, store: Store, archive: Path) -> None:
    """Check that `docker save` gives out the layers and configs that the IDs are digests of."""
    daemon.docker("save", "--output", archive, *store.image_ids)
    with tarfile.open(archive) as saved:

        def digest(name: str) -> str:
            # A layer that was saved already is a link to it.
            file = saved.extractfile(name)
            assert file is not None, name
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

        manifest = saved.extractfile("manifest.json")
        assert manifest is not None
        images = {digest(image["Config"]): image for image in json.load(manifest)}
        assert set(images) == set(store.image_ids)
        for image_id, image in images.items():
            diff_ids = store.config(image_id)["rootfs"]["diff_ids"]
            assert [digest(layer) for layer in image["Layers"]] == diff_ids


def _made_by_docker(daemon: Daemon, image_id: str, image: Path) -> set[str]:
    """Directories that a container's creation adds, because the image wants or lacks them."""
    (shown,) = daemon.inspect("image", image_id)
    config: dict[str, Any] = shown["Config"] or {}
    wanted = [*(config.get("Volumes") or {}), config.get("WorkingDir") or "", "/etc"]
    paths = [Path(path.strip("/")) for path in wanted if path]
    directories = {str(each) for path in paths for each in (path, *path.parents)}
    return {path for path in directories if not _is_directory(image, path)}


def _is_directory(image: Path, path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(image / path.strip("/")).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
