"""What a daemon is made to do, one random thing at a time.

Everything comes from this machine: images begin with busybox in a tree of
symbolic links, or with a small tar.
"""

from __future__ import annotations

import os
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.docker.daemon import Daemon
from tests.walk.scripts import APPLETS, archive, fill, script

BUSYBOX = Path("/bin/busybox")
"""Linked statically: Debian's busybox-static."""

# Docker's own limit is 125; builds on builds would get there.
_MOST_LAYERS = 40
_MOST_IMAGES = 24
_MOST_CONTAINERS = 6

_WITHOUT_NETWORK = ("--network", "none")


class Actions:
    """A daemon, running when `step` is called, and the names that it has been given.

    `directory` is for contexts and archives. Choices among things of the daemon
    are made by names of ours, so that a seed makes the same ones again.
    """

    def __init__(self, daemon: Daemon, chance: random.Random, directory: Path) -> None:
        self.daemon = daemon
        self.chance = chance
        self.tags: list[str] = []
        self.containers: list[str] = []
        self._archives: list[tuple[Path, list[str]]] = []
        self._directory = directory
        self._number = 0
        self._context = directory / "context"
        self._make_context()

    def step(self) -> str:
        """Do something; returns what, in words."""
        if not self.tags:
            return self.build()
        makers: list[Callable[[], str]] = [
            *(self.build, self.build, self.build_with_buildkit, self.build_with_buildkit),
            *(self.run, self.run, self.commit, self.commit, self.tag, self.import_tar),
            *(self.save, self.load, self.restart, self.create),
        ]
        removers: list[Callable[[], str]] = [
            *(self.untag, self.remove_image, self.remove_container, self.prune),
        ]
        if len(self.tags) > _MOST_IMAGES or len(self.containers) > _MOST_CONTAINERS:
            makers = []
        return self.chance.choice([*makers, *removers])()

    def build(self) -> str:
        """Build an image with the daemon's own builder."""
        return self._build(buildkit=False)

    def build_with_buildkit(self) -> str:
        """Build one with BuildKit, which is in the daemon."""
        return self._build(buildkit=True)

    def run(self) -> str:
        """Let a container change something, and keep it."""
        image, name = self._image(), self._new("c")
        changes = script(self.chance, self.chance.randrange(1, 6))
        self.daemon.docker(
            "run", *_WITHOUT_NETWORK, "--name", name, image, "/bin/sh", "-c", changes
        )
        self.containers.append(name)
        return f"run {name} of {image}: {changes}"

    def create(self) -> str:
        """Make a container that never runs."""
        image, name = self._image(), self._new("c")
        self.daemon.docker("create", *_WITHOUT_NETWORK, "--name", name, image, "/bin/sh")
        self.containers.append(name)
        return f"create {name} of {image}"

    def restart(self) -> str:
        """Start a container once more, which changes what it changed before."""
        if not self.containers:
            return "restart nothing"
        name = self.chance.choice(self.containers)
        self.daemon.docker("start", "--attach", name)
        return f"start {name}"

    def commit(self) -> str:
        """Make an image of a container."""
        if not self.containers:
            return self.run()
        name, tag = self.chance.choice(self.containers), self._new_tag()
        # Its image may be gone.
        if self.daemon.run("commit", name, tag, check=False).returncode:
            return f"commit {name} in vain"
        self._tagged(tag)
        return f"commit {name} as {tag}"

    def tag(self) -> str:
        """Give an image one more name, perhaps another image's."""
        image = self._image()
        new = self.chance.choice([*self.tags, self._new_tag()])
        self.daemon.docker("tag", image, new)
        self._tagged(new)
        return f"tag {image} as {new}"

    def import_tar(self) -> str:
        """Make an image of a tar, and build on it what makes it run."""
        file, tag = self._directory / "import.tar", self._new_tag()
        archive(self.chance, file, 6)
        self.daemon.docker("import", file, "imported")
        self._dockerfile("FROM imported", "ADD bin.tar /")
        self._run_build(tag, buildkit=self.chance.random() < 0.5)
        self.daemon.docker("rmi", "imported")
        return f"import, {tag} on it"

    def save(self) -> str:
        """Save images to load them later."""
        tags = sorted(set(self.chance.choices(self.tags, k=2)))
        file = self._directory / f"{self._new('saved')}.tar"
        self.daemon.docker("save", "--output", file, *tags)
        self._archives.append((file, tags))
        return f"save {tags}"

    def load(self) -> str:
        """Load what was saved."""
        if not self._archives:
            return self.save()
        file, tags = self._archives.pop(self.chance.randrange(len(self._archives)))
        self.daemon.docker("load", "--input", file)
        file.unlink()
        for tag in tags:
            self._tagged(tag)
        return f"load {tags}"

    def untag(self) -> str:
        """Take a name away, and the image with its last one."""
        tag = self._image()
        option = "--no-prune" if self.chance.random() < 0.3 else "--force"
        self.daemon.run("rmi", option, tag, check=False)
        self._look_again()
        return f"rmi {tag}"

    def remove_image(self) -> str:
        """Remove an image with all of its names, unless that cannot be."""
        tag = self._image()
        (image,) = self.daemon.inspect("image", tag)
        self.daemon.run("rmi", "--force", image["Id"], check=False)
        self._look_again()
        return f"rmi --force the image {tag}"

    def remove_container(self) -> str:
        """Remove a container."""
        if not self.containers:
            return "rm nothing"
        name = self.containers.pop(self.chance.randrange(len(self.containers)))
        self.daemon.docker("rm", "--force", "--volumes", name)
        return f"rm {name}"

    def prune(self) -> str:
        """Let Docker tidy up, in one of its ways."""
        what = self.chance.choice(
            (
                ("image", "prune", "--force"),
                ("builder", "prune", "--force"),
                ("builder", "prune", "--force", "--all"),
                ("builder", "prune", "--force", "--all"),
            )
        )
        self.daemon.docker(*what)
        self._look_again()
        return " ".join(what)

    def _build(self, *, buildkit: bool) -> str:
        tag = self._new_tag()
        if not self.tags or self.chance.random() < 0.3:
            # Always the same layer, which the daemon may have, and BuildKit has once more.
            begin = ["FROM scratch", "ADD bin.tar /"]
        else:
            begin = [f"FROM {self._image()}"]
        lines = [self._instruction() for _ in range(self.chance.randrange(1, 4))]
        self._dockerfile(*begin, *lines)
        cache = ("--no-cache",) if self.chance.random() < 0.2 else ()
        built = self._run_build(tag, *cache, buildkit=buildkit)
        how = f"{'with BuildKit ' * buildkit}{'in vain ' * (not built)}{' '.join(cache)}"
        return f"build {tag} {how}: {[*begin, *lines]}"

    def _instruction(self) -> str:
        changes = script(self.chance, self.chance.randrange(1, 5))
        number = self.chance.randrange(4)
        return self.chance.choice(
            (
                f"RUN {changes}",
                f"RUN {changes}",
                f"RUN {changes}",
                f"COPY files{number} /w/",
                f"COPY files{number} /",
                f"COPY word{number} /word{number}",
                f"COPY word{number} /word{number}",
                f"ADD files{number}.tar /x/",
                f"ENV NUMBER={number}",
                f"WORKDIR /w/a/{number}",
                "RUN true",
            )
        )

    def _dockerfile(self, *lines: str) -> None:
        (self._context / "Dockerfile").write_text("\n".join(lines))

    def _run_build(self, tag: str, *options: str, buildkit: bool) -> bool:
        """Whether it came to an end: where there is a file, no directory can be copied to."""
        build = ("build", *_WITHOUT_NETWORK, *options, "--tag", tag, self._context)
        env = {"DOCKER_BUILDKIT": str(int(buildkit))}
        built = self.daemon.run(*build, check=False, env=env).returncode == 0
        if built:
            self._tagged(tag)
        return built

    def _make_context(self) -> None:
        programs = self._context / "bin"
        programs.mkdir(parents=True)
        shutil.copy(BUSYBOX, programs)
        for name in APPLETS:
            (programs / name).symlink_to(BUSYBOX.name)
        for number in range(4):
            fill(self.chance, self._context / f"files{number}", 2 * number + 1)
            archive(self.chance, self._context / f"files{number}.tar", number + 1)
            (self._context / f"word{number}").write_text(f"{number}\n")
        for each in self._context.rglob("*"):
            os.utime(each, (1_300_000_000, 1_300_000_000), follow_symlinks=False)
        with tarfile.open(self._context / "bin.tar", "w") as tar:
            tar.add(programs, "bin")

    def _image(self) -> str:
        if not self.tags:
            self._build(buildkit=False)
        images = zip(self.tags, self.daemon.inspect("image", *self.tags), strict=True)
        short = [tag for tag, image in images if len(image["RootFS"]["Layers"]) < _MOST_LAYERS]
        return self.chance.choice(short or self.tags)

    def _new(self, kind: str) -> str:
        self._number += 1
        return f"{kind}{self._number}"

    def _new_tag(self) -> str:
        return f"{self._new('i')}:{self.chance.randrange(3)}"

    def _tagged(self, tag: str) -> None:
        if tag not in self.tags:
            self.tags.append(tag)

    def _look_again(self) -> None:
        """Forget what is not there any more."""
        there = {f"{row['Repository']}:{row['Tag']}" for row in self.daemon.table("images")}
        self.tags = [tag for tag in self.tags if tag in there]
