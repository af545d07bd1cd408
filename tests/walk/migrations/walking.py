"""The walk: a random step, then a look at every store of the data root."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from migrator.commands import checksums as checksumming
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.commands.status import status
from migrator.commands.verify import verify
from migrator.errors import MigratorError, StoreError, Subject
from migrator.store.findings import Finding
from tests.command import snapshot
from tests.docker.daemon import Daemon
from tests.walk.migrations.new import NewDaemon
from tests.walk.migrations.old import OldDaemon

DRIVERS = ("overlay", "vfs", "aufs")

# Docker 20.10 does not run on aufs with the kernels of today.
_RUNS = ("overlay", "vfs", "overlay2")
_TARGET = "overlay2"
_MOST_ACTIONS = 4
_STARTS = 5
_TOO_SLOW = "timeout waiting for containerd to start"
_TAKEN = "a Docker <= 1.9 that was started here again may have removed both"

_PLACES = ("imagedb/content/sha256", "layerdb/sha256")
_OBJECT = re.compile(rf"image/[^/]+/(?:{'|'.join(_PLACES)})/([0-9a-f]{{64}})(?:/|$)")

_ONLY_HASHED = "Nothing had been published"

Tree = dict[str, tuple[object, ...]]


@dataclass(slots=True)
class Walked:
    """What was done, by kind of step; `refused` are rollbacks that were, with all that changed."""

    steps: int = 0
    verified: int = 0
    refused: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


class Walk:
    """A data root below `directory`; `tell` gets a line a step."""

    def __init__(
        self, driver: str, seed: int, directory: Path, tell: Callable[[str], object]
    ) -> None:
        self.done = Walked()
        self._chance = random.Random(f"{driver} {seed}")
        self._root = directory / "root"
        self._old = OldDaemon(self._root, driver, self._chance)
        self._new = NewDaemon(self._chance, directory, self._old.removed)
        self._driver = driver
        self._tell = tell
        # What the data root was before each migration, and after it.
        self._made: list[tuple[Tree, Tree]] = []
        # The images and layers that a forced rollback took from under what Docker made on them.
        self._taken: set[str] = set()
        self._old.begin()

    def go(self, steps: int) -> Walked:
        """Walk. Raises AssertionError, or whatever went wrong."""
        while self.done.steps < steps:
            kind = self._chance.choice(
                (
                    *(self._migrate, self._migrate, self._convert, self._convert),
                    *(self._daemon, self._daemon, self._daemon, self._roll_back),
                    *(self._roll_back_by_force, self._hash, self._hash_undone),
                    *(self._grow, self._old_removes, self._look),
                )
            )
            self._note(kind())
            self._verify(deep=False)
        self._new.close()
        return self.done

    def _note(self, what: str) -> None:
        self.done.steps += 1
        kind = " ".join(what.split()[:3])
        self.done.kinds[kind] = self.done.kinds.get(kind, 0) + 1
        self._tell(f"{self._driver} {self.done.steps}: {what}")

    def _migrate(self) -> str:
        return self._run_migration("migrate", None)

    def _convert(self) -> str:
        return self._run_migration("migrate --target-driver", _TARGET)

    def _run_migration(self, what: str, target: str | None) -> str:
        before = snapshot(self._root)
        summary = migration.migrate(self._root, self._driver, target_driver=target, workers=0)
        if summary.nothing_to_do is None:
            self._made.append((_of_others(before), _of_others(snapshot(self._root))))
        problems = [f"{each.about} {each.name[:12]}: {each.reason}" for each in summary.problems]
        return f"{what} {target or ''}: {summary.nothing_to_do or summary.images}; {problems}"

    def _daemon(self) -> str:
        drivers = [name for name in _RUNS if (self._root / "image" / name / "layerdb").is_dir()]
        if not drivers:
            return self._migrate()
        driver = self._chance.choice(drivers)
        with self._running(driver) as daemon:
            for _ in range(self._chance.randrange(_MOST_ACTIONS)):
                self._note(f"docker on {driver}: {self._new.step(daemon)}")
        return f"docker on {driver} ends"

    @contextmanager
    def _running(self, driver: str) -> Iterator[Daemon]:
        daemon = Daemon(self._root, driver)
        try:
            with ExitStack() as stack:
                self._start(daemon, stack)
                yield daemon
        finally:
            daemon.remove()
            self._unmount()

    def _start(self, daemon: Daemon, stack: ExitStack) -> None:
        """Start it, once more where the machine is too busy for its containerd's own limit."""
        for _ in range(_STARTS):
            try:
                stack.enter_context(daemon)
                return
            except AssertionError as error:
                self._unmount()
                if _TOO_SLOW not in str(error):
                    raise
        raise AssertionError(f"dockerd did not start in {_STARTS} attempts")

    def _unmount(self) -> None:
        """A daemon that crashed leaves its data root mounted on itself."""
        if f" {self._root} " in Path("/proc/self/mountinfo").read_text():
            subprocess.run(["umount", "--lazy", self._root], check=True)

    def _roll_back(self) -> str:
        now = snapshot(self._root)
        if not self._made:
            return self._nothing_to_roll_back()
        before, after = self._made[-1]
        try:
            done = rollback(self._root, self._driver)
        except StoreError as error:
            assert _of_others(now) != after, f"refused although nothing changed: {error}"
            assert snapshot(self._root) == now
            self.done.refused += 1
            return f"rollback refused: {str(error)[:150]}"
        if done.startswith(_ONLY_HASHED):
            assert _of_others(snapshot(self._root)) == _of_others(now)
            return "rollback of what was only hashed"
        self._made.pop()
        _check_undone(before, after, now, snapshot(self._root))
        return "rollback done"

    def _roll_back_by_force(self) -> str:
        # Seldom, since what Docker made is lost.
        if not self._made or self._chance.random() < 0.4:
            return self._roll_back()
        before, after = self._made[-1]
        now = snapshot(self._root)
        done = rollback(self._root, self._driver, force=True)
        if done.startswith(_ONLY_HASHED):
            assert _of_others(snapshot(self._root)) == _of_others(now)
            return "rollback of what was only hashed"
        self._made.pop()
        kept = {path for path, entry in after.items() if now.get(path) == entry}
        left = snapshot(self._root)
        self._taken |= {match[1] for path in now.keys() - left if (match := _OBJECT.match(path))}
        for path in kept & before.keys():
            assert left.get(path) == before[path], f"{path} is not what it was"
        # Containers whose layers are gone, which their owner clears up.
        for path in (self._root / "containers").iterdir():
            if not (path / "config.json").exists():
                shutil.rmtree(path)
        return "rollback --force done"

    def _nothing_to_roll_back(self) -> str:
        try:
            rollback(self._root, self._driver)
        except MigratorError as error:
            return f"rollback without anything: {error}"
        return "rollback of what was only hashed"

    def _hash(self) -> str:
        checksumming.checksums(self._root, self._driver, workers=0)
        return "checksums are made"

    def _hash_undone(self) -> str:
        checksumming.undo(self._root, self._driver)
        return "checksums are undone"

    def _grow(self) -> str:
        return self._old.grow()

    def _old_removes(self) -> str:
        remove = self._chance.choice((self._old.remove_container, self._old.remove_image))
        return remove()

    def _look(self) -> str:
        self._verify(deep=True)
        return f"status is {status(self._root, self._driver).state}"

    def _verify(self, *, deep: bool) -> None:
        image = self._root / "image"
        for driver in sorted(os.listdir(image)) if image.is_dir() else ():
            if (image / driver / "layerdb").is_dir():
                self.done.verified += 1
                report = verify(self._root, driver, deep=deep, workers=0)
                faults = [str(each) for each in report.findings if not self._is_known(driver, each)]
                assert not faults, f"{driver} (used: {report.used}): " + "\n".join(faults)

    def _is_known(self, driver: str, finding: Finding) -> bool:
        """Whether the old daemon did it, or a forced rollback, which leaves no names behind."""
        if finding.about == Subject.TAG:
            return False
        store = self._root / "image" / driver
        named = [each for each in self._taken if each in finding.reason]
        back = [each for each in named if any((store / at / each).exists() for at in _PLACES)]
        return _TAKEN in finding.reason or len(back) < len(named)


def _of_others(tree: Tree) -> Tree:
    """All but the state of migrations."""
    return {path: entry for path, entry in tree.items() if not path.startswith(".migrator")}


def _check_undone(before: Tree, after: Tree, now: Tree, left: Tree) -> None:
    """What nobody changed since the migration is as before; what somebody did stays."""
    for path in _of_others({**before, **after, **now, **left}):
        was, came, is_now = before.get(path), after.get(path), now.get(path)
        expected = [was if is_now == came else is_now]
        # Docker wrote again what the migration had written: by content it is still its own.
        if is_now and came and is_now[-1] == came[-1]:
            expected.append(was)
        assert left.get(path) in expected, f"{path} is not what it was"
