"""The daemon of Docker <= 1.9 goes on with its store: what it leaves there, made by hand."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
from pathlib import Path

from legacy_fixtures.build import Container, Store, build, line

_CONFIG = {
    "Config": {"Hostname": "old", "Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "Image": "old:1"},
    "Created": "2015-12-01T00:00:00Z",
    "Path": "/bin/sh",
    "Args": [],
    "State": {"ExitCode": 1, "StartedAt": "2015-12-01T00:00:00Z"},
    "NetworkSettings": {},
    "MountPoints": {},
}


class OldDaemon:
    """A legacy store of `driver` in `root`, made with `begin`."""

    def __init__(self, root: Path, driver: str, chance: random.Random) -> None:
        self.root = root
        self.driver = driver
        self.removed: set[str] = set()
        """The v1 IDs of the images that were removed, and with them their layers."""
        self._chance = chance
        self._number = 0

    def begin(self) -> None:
        """Make the store."""
        self._build(self.root)

    def grow(self) -> str:
        """Images, their names, and containers come."""
        aside = self.root.with_name("grown")
        self._build(aside)
        for directory in ("graph", "containers", self.driver):
            for path in sorted((aside / directory).iterdir()):
                self._take(path, self.root / directory / path.name)
        repositories = self._repositories()
        repositories["Repositories"] |= json.loads(
            (aside / f"repositories-{self.driver}").read_text()
        )["Repositories"]
        self._name(repositories)
        self._link(aside / "linkgraph.db")
        shutil.rmtree(aside)
        return f"the old daemon builds images, generation {self._number}"

    def remove_container(self) -> str:
        """Remove one of its containers."""
        found = sorted(path.parent.name for path in self.root.glob("containers/*/config.json"))
        if not found:
            return "the old daemon has no container to remove"
        name = self._chance.choice(found)
        shutil.rmtree(self.root / "containers" / name)
        self._remove_layers(name, f"{name}-init")
        with sqlite3.connect(self.root / "linkgraph.db") as connection:
            connection.execute("DELETE FROM edge WHERE ? IN (entity_id, parent_id)", (name,))
            connection.execute("DELETE FROM entity WHERE id = ?", (name,))
        connection.close()
        return f"the old daemon removes the container {name[:8]}"

    def remove_image(self) -> str:
        """Remove an image that nothing lies on, with its names."""
        images = {p.parent.name: json.loads(p.read_text()) for p in self.root.glob("graph/*/json")}
        configs = self.root.glob("containers/*/config.json")
        needed = {image.get("parent") for image in images.values()}
        needed |= {json.loads(path.read_text())["Image"] for path in configs}
        free = sorted(images.keys() - needed)
        if not free:
            return "the old daemon has no image to remove"
        v1_id = self._chance.choice(free)
        shutil.rmtree(self.root / "graph" / v1_id)
        self._remove_layers(v1_id)
        self.removed.add(v1_id)
        repositories = self._repositories()
        for name, tags in [*repositories["Repositories"].items()]:
            left = {tag: image for tag, image in tags.items() if image != v1_id}
            repositories["Repositories"][name] = left
            if not left:
                del repositories["Repositories"][name]
        self._name(repositories)
        return f"the old daemon removes the image {v1_id[:8]}"

    def _build(self, root: Path) -> None:
        build(self._store(), root)
        for path in root.glob("containers/*/config.json"):
            # Docker 20.10 takes no container without these.
            config = json.loads(path.read_text()) | _CONFIG
            path.write_text(json.dumps(config))

    def _store(self) -> Store:
        self._number += 1
        n = self._number
        return Store(
            self.driver,
            line(2, 3),
            containers=(Container(f"db{n}"), Container(f"web{n}", 1, {"database": f"db{n}"})),
            tags={f"app{n}:1": 1, f"base{n}:1": 0},
            checksums=self._chance.random() < 0.5,
            records=self._chance.random() < 0.8,
            seed=n,
        )

    def _take(self, source: Path, target: Path) -> None:
        if source.name in ("diff", "layers", "mnt", "dir") and target.is_dir():
            for path in source.iterdir():
                self._take(path, target / path.name)
        elif not os.path.lexists(target):
            subprocess.run(["cp", "-a", source, target], check=True)

    def _remove_layers(self, *names: str) -> None:
        for name in names:
            for below in ("", "diff", "layers", "mnt", "dir"):
                path = self.root / self.driver / below / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def _repositories(self) -> dict[str, dict[str, dict[str, str]]]:
        found: dict[str, dict[str, dict[str, str]]] = json.loads(
            (self.root / f"repositories-{self.driver}").read_text()
        )
        return found

    def _name(self, repositories: dict[str, dict[str, dict[str, str]]]) -> None:
        path = self.root / f"repositories-{self.driver}"
        path.write_text(json.dumps(repositories))

    def _link(self, other: Path) -> None:
        with sqlite3.connect(self.root / "linkgraph.db") as connection:
            connection.execute("ATTACH ? AS other", (str(other),))
            connection.execute("INSERT OR IGNORE INTO entity SELECT * FROM other.entity")
            connection.execute("INSERT INTO edge SELECT * FROM other.edge")
        connection.close()
