"""The README's "Moving an old host", word for word, from a legacy store to a started container.

What only a real host has is stood in for: `service` and `systemctl` start and stop private
daemons, the disk is a file. The old daemon is a new one on another data root, since no
Docker 1.9 can be had; it runs the same commands.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.command import dump, migrator, snapshot
from tests.docker.conftest import BASE, PREPARED, REPOSITORY, clone
from tests.docker.daemon import ENVIRONMENT, Daemon, poll

pytestmark = pytest.mark.xdist_group("container image")

StoreCopy = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

# Everything in it can be migrated, so that every command ends with code 0.
_NAME = "docker-1.9.1-overlay-pulled"
_CONTAINER = "p1"
_ARCHIVE = "docker-store-migrator.tar.gz"
_ADDED = (".migrator", "image", ".migration-v1-images.json", ".migration-v1-tags")
_OF_NEW_DAEMONS = ("buildkit", "containerd", "plugins", "runtimes", "swarm", "tmp")

# What the test looks at between two sections.
_PROBE = """
docker wait "$CONTAINER"
docker logs "$CONTAINER" >logs
docker images --all --quiet --no-trunc >images
"""


def blocks(heading: str) -> str:
    """The shell blocks directly below a heading of the README."""
    text = (REPOSITORY / "README.md").read_text()
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    assert match, heading
    found = re.findall(r"^( *)```sh\n(.*?)^\1```$", match[1], re.MULTILINE | re.DOTALL)
    assert found, heading
    return "".join(textwrap.dedent(block) for _, block in found)


@pytest.fixture
def archive(engine: Daemon, tmp_path: Path) -> Path:
    """The image's archive, made as the README says."""
    directory = clone(tmp_path)
    dockerfile = (directory / "Dockerfile").read_text()
    (default,) = re.findall(r"^ARG BASE=(.*)$", dockerfile, re.MULTILINE)
    engine.docker("tag", BASE, default)
    paste(
        blocks("The image, as an archive"),
        directory,
        # The base has bookworm's Python.
        {"DOCKER_HOST": engine.host, "BASE_PYTHON": "3.11"},
    )
    return directory / _ARCHIVE


def test_on_the_old_host_and_back(
    archive: Path, store_copy: StoreCopy, golden: Golden, tmp_path: Path
) -> None:
    root = store_copy(_NAME)
    before = snapshot(root)
    place = tmp_path / "root's home"
    place.mkdir()
    shutil.copy(archive, place)
    with host(tmp_path, root) as environment:
        transcript = paste(
            blocks("Moving an old host")
            + blocks("On the old host")
            + _PROBE
            + blocks("Back, on the old host"),
            place,
            {**environment, "CONTAINER": _CONTAINER},
        )
    (PREPARED / "walk-through.txt").write_text(transcript)

    assert "Migrated /var/lib/docker" in transcript
    assert (place / "logs").read_text() == "<hi> & bye\n"
    expected = {f"sha256:{image}" for image in golden(_NAME)["images"]}
    assert set((place / "images").read_text().split()) == expected

    after = snapshot(root, without=_OF_NEW_DAEMONS)
    changed = {path for path in before if after.get(path) != before[path]}
    print("CHANGED", sorted(changed), sorted(set(after) - set(before)))
    # The container was started: its files, its log and the network's database are not metadata.
    assert {path.split("/")[0] for path in changed} <= {"overlay", "network", "volumes"}
    assert not any((root / name).exists() for name in _ADDED)
    run = migrator("migrate", "--graph", root)
    assert run.returncode == 0, run.stderr
    assert dump(root, "overlay") == golden(_NAME)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A mount point; nothing stays mounted."""
    point = tmp_path / "mount"
    yield point
    if point.is_mount():
        subprocess.run(["umount", point], check=True)


def test_with_the_disk_in_another_machine_and_back(
    mount: Path, store_copy: StoreCopy, golden: Golden, tmp_path: Path
) -> None:
    root = store_copy(_NAME)
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(256 << 20)
    on_disk = tmp_path / "content" / "var" / "lib"
    on_disk.mkdir(parents=True)
    root.rename(on_disk / "docker")
    subprocess.run(["mkfs.ext4", "-q", "-d", tmp_path / "content", disk], check=True)
    environment = {"DISK": str(disk), "MOUNT": str(mount), "VENV": str(tmp_path / "venv")}
    there, back = (
        blocks("With the disk in another machine"),
        blocks("Back, with the disk in another machine"),
    )

    with _mounted(disk, mount):
        before = snapshot(mount)
    directory = clone(tmp_path)
    paste(there + back, directory, environment)
    with _mounted(disk, mount):
        assert snapshot(mount) == before

    paste(there, directory, environment)
    with _mounted(disk, mount):
        assert dump(mount / "var/lib/docker", "overlay") == golden(_NAME)
        daemon = Daemon(mount / "var/lib/docker")
        with daemon:
            assert daemon.docker("start", "--attach", _CONTAINER) == "<hi> & bye"
        daemon.remove()


def paste(script: str, directory: Path, environment: dict[str, str]) -> str:
    """Run shell blocks in a directory as a root user would; returns the transcript."""
    bin_directory = directory.parent / "bin"
    bin_directory.mkdir(exist_ok=True)
    python = bin_directory / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    run = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=directory,
        env={
            **ENVIRONMENT,
            "PATH": f"{bin_directory}:{ENVIRONMENT['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(PREPARED / "wheelhouse"),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


@contextmanager
def host(directory: Path, root: Path) -> Iterator[dict[str, str]]:
    """An old host: `service docker stop` and `systemctl start docker` work; gives its environment.

    Before the first stop the old daemon is running, after it the new one can be started.
    """
    old_root = directory / "old daemon"
    old_root.mkdir()
    old, new = Daemon(old_root, "overlay"), Daemon(root)
    # What both have in common.
    socket, pid = directory / "docker.sock", directory / "docker.pid"
    # Not below the test's own directory: a socket's path may have 104 characters.
    temporary = Path(tempfile.mkdtemp(prefix="temporary-")) / "engine"
    bin_directory = directory / "bin"
    bin_directory.mkdir(exist_ok=True)
    init = textwrap.dedent(
        f"""\
        #!/bin/sh -e
        case "$*" in
        *start*)
            ln -sfn {new.socket} {socket}
            ln -sfn {new.pidfile} {pid}
            {shlex.join(new.command)} >>{new.socket.parent}/log 2>&1 &
            until docker version >/dev/null 2>&1; do sleep 0.1; done ;;
        *stop*)
            kill "$(cat {pid})"
            while [ -e {pid} ]; do sleep 0.1; done ;;
        esac
        """
    )
    for name in ("service", "systemctl"):
        (bin_directory / name).write_text(init)
        (bin_directory / name).chmod(0o755)
    try:
        with old:
            socket.symlink_to(old.socket)
            pid.symlink_to(old.pidfile)
            yield {
                "DOCKER_HOST": f"unix://{socket}",
                "DATA_ROOT": str(root),
                "TEMPORARY": str(temporary),
            }
    finally:
        for left_running in (new.pidfile, temporary / "pid"):
            if left_running.exists():
                os.kill(int(left_running.read_text()), signal.SIGTERM)
                poll(lambda file=left_running: not file.exists(), "a daemon's end")
        old.remove()
        new.remove()
        shutil.rmtree(temporary.parent)


@contextmanager
def _mounted(disk: Path, point: Path) -> Iterator[None]:
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", disk, point], check=True)
    yield
    subprocess.run(["umount", point], check=True)
