"""What Docker 20.10 is made to do on a data root with migrated things, one at a time."""

from __future__ import annotations

import random
import shutil
import tarfile
from collections.abc import Callable, Set
from pathlib import Path

from tests.docker.daemon import Daemon

BUSYBOX = Path("/bin/busybox")
"""Linked statically: Debian's busybox-static."""

_NO_NETWORK = ("--network", "none")


class NewDaemon:
    """Acts on a daemon that is running; `directory` is for contexts and archives.

    `lost` are the layers' directories that the old daemon has taken from it.
    """

    def __init__(self, chance: random.Random, directory: Path, lost: Set[str]) -> None:
        self._chance = chance
        self._directory = directory
        self._lost = lost
        self._number = 0
        self._context = directory / "context"
        self._context.mkdir()
        with tarfile.open(directory / "busybox.tar", "w") as tar:
            tar.add(BUSYBOX, "bin/busybox")

    def step(self, daemon: Daemon) -> str:
        """Do something; returns what, in words."""
        steps: list[Callable[[Daemon], str]] = [
            *(self.run, self.commit, self.build, self.tag, self.remove, self.remove_image),
            *(self.untag, self.start, self.save_and_load),
        ]
        return self._chance.choice(steps)(daemon)

    def run(self, daemon: Daemon) -> str:
        """Run a container that changes something."""
        name = self._new()
        daemon.docker("import", self._directory / "busybox.tar", "busybox:1")
        command = ["/bin/busybox", "touch", f"/{name}"]
        daemon.docker("run", *_NO_NETWORK, "--name", name, "busybox:1", *command)
        return f"run {name}"

    def commit(self, daemon: Daemon) -> str:
        """Make an image of a container, changed before."""
        container = self._container(daemon)
        if container is None:
            return self.run(daemon)
        source = self._context / "added"
        source.write_text(self._new())
        daemon.run("cp", source, f"{container}:/added", check=False)
        # Its image may be gone.
        daemon.run("commit", container, f"{self._new()}:1", check=False)
        return f"commit {container}"

    def build(self, daemon: Daemon) -> str:
        """Build on an image that is there."""
        image, tag = self._image(daemon), self._new()
        (self._context / "file").write_text(tag)
        lines = (f"FROM {image or 'scratch'}", "COPY file /built/", f"LABEL n={tag}")
        (self._context / "Dockerfile").write_text("\n".join(lines))
        built = daemon.run("build", *_NO_NETWORK, "--tag", tag, self._context, check=False)
        if built.returncode:
            assert any(layer in built.stderr for layer in self._lost), built.stderr
            return f"build {tag} on {image} in vain: its layer is gone"
        return f"build {tag} on {image}"

    def tag(self, daemon: Daemon) -> str:
        """Give an image a new name, or that of another."""
        image, other = self._image(daemon), self._image(daemon)
        if image is None or other is None:
            return self.build(daemon)
        name = self._chance.choice((other, self._new()))
        daemon.docker("tag", image, name)
        return f"tag {image} as {name}"

    def start(self, daemon: Daemon) -> str:
        """Start a container, which most have no program for."""
        container = self._container(daemon)
        if container is None:
            return self.run(daemon)
        daemon.run("start", "--attach", container, check=False)
        return f"start {container}"

    def remove(self, daemon: Daemon) -> str:
        """Remove a container."""
        container = self._container(daemon)
        if container is None:
            return self.build(daemon)
        daemon.run("rm", "--force", container, check=False)
        return f"rm {container}"

    def untag(self, daemon: Daemon) -> str:
        """Take a name away, and the image with its last one."""
        image = self._image(daemon)
        if image is None:
            return self.build(daemon)
        daemon.run("rmi", image, check=False)
        return f"rmi {image}"

    def remove_image(self, daemon: Daemon) -> str:
        """Remove an image with all of its names, even under a container."""
        image = self._image(daemon)
        if image is None:
            return self.build(daemon)
        (found,) = daemon.inspect("image", image)
        daemon.run("rmi", "--force", found["Id"], check=False)
        return f"rmi --force the image {image}"

    def save_and_load(self, daemon: Daemon) -> str:
        """Save an image, remove its name, load it."""
        image, file = self._image(daemon), self._directory / "saved.tar"
        if image is None or daemon.run("save", "-o", file, image, check=False).returncode:
            return self.build(daemon)
        daemon.run("rmi", image, check=False)
        daemon.docker("load", "-i", file)
        return f"save and load {image}"

    def close(self) -> None:
        """Remove the contexts."""
        shutil.rmtree(self._context)

    def _image(self, daemon: Daemon) -> str | None:
        rows = daemon.table("images")
        names = sorted(f"{r['Repository']}:{r['Tag']}" for r in rows if r["Tag"] != "<none>")
        return self._chance.choice(names) if names else None

    def _container(self, daemon: Daemon) -> str | None:
        names = sorted(row["Names"] for row in daemon.table("ps", "--all"))
        return self._chance.choice(names) if names else None

    def _new(self) -> str:
        self._number += 1
        return f"n{self._number}"
