"""Killing at random moments, over and over, on a larger store."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from legacy_fixtures.build import Container, Store, build, line
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.legacy.root import open_root
from migrator.state.directory import NAME, Phase, StateDirectory
from tests.command import snapshot
from tests.crash.scenarios import copy, dump

_LAYERS = 24
# What is started, mostly that which has something to do.
_COMMANDS = ("migrate", "migrate", "migrate", "rollback", "checksums")
_WHEN_PUBLISHED = ("rollback", "rollback", "rollback", "migrate", "checksums")

# Which part of the kills is aimed at the change of the data root, and how long that takes, at most.
_AIMED = 0.5
_CHANGING = 0.01


def soak(directory: Path, kills: int, chance: random.Random, store: Path | None = None) -> int:
    """Start commands and kill each one's process group, `kills` times; then migrate and roll back.

    On a copy of the legacy store `store`, or of one that is built. Prints what
    came of it; returns 1 if the end is not the reference.
    """
    root, expected, legacy = directory / "root", directory / "expected", store
    if legacy is None:
        legacy = directory / "built"
        containers = (Container("db", 3), Container("web", _LAYERS - 1, {"database": "db"}))
        layers = (*line(_LAYERS - 1, 120, 20_000), line(1, 120, 20_000)[0])
        build(Store("vfs", layers, records=False, containers=containers), legacy)
    driver = open_root(legacy).driver_name
    original = snapshot(legacy)
    copy(legacy, expected)
    begun = time.monotonic()
    assert _start("migrate", expected).wait() == 0
    longest = time.monotonic() - begun
    reference = dump(expected, driver)
    copy(legacy, root)
    killed = {False: 0, True: 0}
    phases: dict[Phase, int] = {}
    for _ in range(kills):
        killed[_killed(root, chance, longest)] += 1
        phase = StateDirectory(root).phase
        phases[phase] = phases.get(phase, 0) + 1
        if phase in (Phase.NONE, Phase.PREPARING):
            if _legacy_part(root) != original:
                print(f"FAILED: changed in phase {phase}")
                return 1
        elif phase is Phase.PUBLISHED and dump(root, driver) != reference:
            print("FAILED: published, and not the reference")
            return 1
    migration.migrate(root)
    good = dump(root, driver) == reference
    rollback(root)
    good = good and _legacy_part(root) == original
    left = ", ".join(f"{phase} {count}" for phase, count in sorted(phases.items()))
    print(f"{killed[True]} killed, {killed[False]} ended before it; phases left: {left}")
    print("the end is the reference" if good else "FAILED: the end is not the reference")
    return 0 if good else 1


def _legacy_part(root: Path) -> dict[str, tuple[object, ...]]:
    """All but the state directory and the helper files of `migrator checksums`."""
    tree = snapshot(root, without=(NAME,))
    return {path: entry for path, entry in tree.items() if "/.migration-" not in path}


def _killed(root: Path, chance: random.Random, longest: float) -> bool:
    """Run a command, kill it at a random moment; whether that was before its end.

    Some of the moments are shortly after the data root begins to change, which
    takes so small a part of a run that they would hardly ever be.
    """
    state = StateDirectory(root)
    published = state.phase is Phase.PUBLISHED
    process = _start(chance.choice(_WHEN_PUBLISHED if published else _COMMANDS), root)
    pidfd = os.pidfd_open(process.pid)
    wait = chance.uniform(0, 1.2 * longest)
    if chance.random() < _AIMED:
        while process.poll() is None and state.phase not in (Phase.PUBLISHING, Phase.UNDOING):
            pass
        wait = chance.uniform(0, _CHANGING)
    # The moment is what is random here; an end before it is noticed at once.
    select.select([pidfd], [], [], wait)
    os.close(pidfd)
    before_its_end = process.poll() is None
    if before_its_end:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return before_its_end


def _start(command: str, root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "migrator", command, "-g", root, "-q"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
