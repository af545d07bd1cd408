"""The stores and commands that are interrupted, and what must come of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legacy_fixtures.build import Built, Container, Layer, Store, build, line
from legacy_fixtures.dump_store import dump as dump_store
from migrator.state.directory import StateDirectory
from tests.command import snapshot
from tests.conftest import STORES
from tests.crash.faults import run
from tests.stores.younger import younger

Tree = dict[str, tuple[object, ...]]

_TWO = (Container("db", 1), Container("web", 2, {"database": "db"}))
_ONE = (Container("db", 1),)
_SMALL = line(2, 3)
_FORKED = (Layer(None), Layer(0), Layer(1), Layer(0))

STORES_BUILT = {
    "with records": Store(layers=_FORKED, checksums=True),
    "without records": Store("vfs", _FORKED, records=False),
    "containers and links": Store("aufs", line(3), containers=_TWO),
    "earlier image/": Store(layers=line(3), checksums=True, containers=_TWO, earlier=True),
}
REAL = "docker-1.9.1-overlay"

TARGET = "overlay2"

# To overlay2, from a legacy store and from what a migration in place made of one.
CONVERTED = {
    "legacy to overlay2": (Store("aufs", _SMALL, containers=_ONE), False),
    "migrated to overlay2": (Store("vfs", _SMALL, records=False, containers=_ONE), True),
}
# A second migration, on top of one that was made before an image, its names and a container came.
_YOUNGER = ("second time", "second time to overlay2")
_GROWN = Store(
    layers=_FORKED,
    tags={"base:1": 0, "app:1": 1, "app:2": 2, "late:1": 3},
    checksums=True,
    containers=(Container("db", 1), Container("late", 3, {"database": "db"})),
)
SECOND = {name: (_GROWN, TARGET if name.endswith(TARGET) else "") for name in _YOUNGER}

COMMANDS = ("migrate", "rollback", "checksums")
CONVERSION_COMMANDS = ("migrate", "rollback")


@dataclass(frozen=True)
class Start:
    """A store, ready to be copied, and what an undisturbed migration makes of it.

    `driver` is that of the new store; `target` the same if it is another than
    the old one's. `state` is the name of that migration's state directory.
    `before` is what there is of the new store at the start.
    """

    name: str
    driver: str
    target: str
    state: str
    before: dict[str, Any]
    legacy: Path
    migrated: Path
    original: Tree
    reference: dict[str, Any]
    exit_code: int


@dataclass(frozen=True)
class Scenario:
    """A command on a store: `migrate`, `rollback` or `checksums`, with so many workers."""

    start: Start
    command: str
    workers: int = 0

    @property
    def name(self) -> str:
        workers = f", {self.workers} workers" if self.workers else ""
        return f"{self.command} ({self.start.name}{workers})"

    def arguments(self, root: Path) -> list[str | Path]:
        """The command line for a copy of the store."""
        return [*_arguments(self.command, root, self.start.target), "-q"]

    def begin(self, root: Path) -> None:
        """Make `root` what the command finds."""
        rollback = self.command == "rollback"
        copy(self.start.migrated if rollback else self.start.legacy, root)


def _arguments(command: str, root: Path, target: str) -> list[str | Path]:
    options = ["--target-driver", target] if target and command == "migrate" else []
    return [command, "-g", root, *options]


def copy(source: Path, target: Path) -> None:
    """Copy a tree with all its metadata, over what was there."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", source, target], check=True)


def dump(root: Path, driver: str) -> dict[str, Any]:
    """The new store in `root`, as the golden files show it; with the files in `overlay2/`."""
    result: dict[str, Any] = json.loads(json.dumps(dump_store(str(root), driver)))
    if driver == TARGET:
        result["files"] = _files(root / TARGET)
    return result


def _files(directory: Path) -> dict[str, Any]:
    """All below it, without the times of what has none of its own."""
    found = snapshot(directory)
    return {
        path: list(entry) if "/diff/" in path and entry[5] is not None else [*entry[:4], entry[5]]
        for path, entry in found.items()
    }


def prepare(name: str, directory: Path) -> Start:
    """Build or unpack a store below `directory`, and migrate a copy of it undisturbed.

    The result is checked against what does not come from migrator: the golden
    file, or the builder's own digests.
    """
    legacy, migrated = directory / "legacy", directory / "migrated"
    directory.mkdir()
    check: Callable[[dict[str, Any]], None]
    target = ""
    if name in CONVERTED:
        store, in_place = CONVERTED[name]
        driver = target = TARGET
        check = _agrees(store, build(store, legacy))
        if in_place:
            run(["migrate", "-g", legacy, "-q"])
    elif name in SECOND:
        store, target = SECOND[name]
        driver = target or store.driver
        built = build(store, legacy)
        check = _agrees(store, built)
        back = younger(built, 3, "late")
        run([*_arguments("migrate", legacy, target), "-q"])
        back()
    elif name == REAL:
        _unpack(name, legacy)
        driver = "overlay"
        golden = json.loads((STORES / f"{name}.golden.json").read_text())
        check = _equals(golden)
    else:
        driver = STORES_BUILT[name].driver
        check = _agrees(STORES_BUILT[name], build(STORES_BUILT[name], legacy))
    state = StateDirectory.next(legacy, target).path.name
    copy(legacy, migrated)
    ended = run([*_arguments("migrate", migrated, target), "-q"])
    reference = dump(migrated, driver)
    check(reference)
    before = dump(legacy, driver)
    return Start(
        name=name,
        driver=driver,
        target=target,
        state=state,
        before=before,
        legacy=legacy,
        migrated=migrated,
        original=snapshot(legacy),
        reference=reference,
        exit_code=ended.code,
    )


def _unpack(name: str, directory: Path) -> None:
    directory.mkdir()
    options = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp")
    archive = STORES / f"{name}.tar.xz"
    subprocess.run(["tar", "-C", directory, *options, "-xpJf", archive], check=True)


def _equals(golden: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def check(reference: dict[str, Any]) -> None:
        assert reference == golden

    return check


def _agrees(store: Store, built: Built) -> Callable[[dict[str, Any]], None]:
    def check(reference: dict[str, Any]) -> None:
        layers = reference["layers"]
        assert reference["id_map"].keys() == set(built.v1_ids)
        assert len(layers) == len(built.v1_ids)
        assert {layer["cache-id"] for layer in layers.values()} >= set(built.v1_ids[1:])
        if store.records:
            chains = {f"sha256:{chain}": layer["diff"] for chain, layer in layers.items()}
            assert chains == dict(zip(built.chain_ids, built.diff_ids, strict=True))
        tags = {key for keys in reference["repositories"]["Repositories"].values() for key in keys}
        assert tags >= set(store.tags)
        assert reference["mounts"].keys() == set(built.container_ids.values())
        for container in store.containers:
            links = [f"/{other}:{alias}" for alias, other in container.links.items()]
            assert reference["links"][built.container_ids[container.name]] == links

    return check
