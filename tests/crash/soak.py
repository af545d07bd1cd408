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
from migrator import migration, recovery
from migrator.state.directory import Phase, StateDirectory
from tests.command import snapshot
from tests.crash.scenarios import copy, dump

_LAYERS = 24
_COMMANDS = ("migrate", "migrate", "migrate", "rollback", "checksums")


def soak(directory: Path, kills: int, chance: random.Random) -> int:
    """Start commands and kill each one's process group, `kills` times; then migrate and roll back.

    Prints what came of it; returns 1 if the end is not the reference.
    """
    root, expected, built = directory / "root", directory / "expected", directory / "built"
    containers = (Container("db", 3), Container("web", _LAYERS - 1, {"database": "db"}))
    layers = (*line(_LAYERS - 1, 120, 20_000), line(1, 120, 20_000)[0])
    build(Store("vfs", layers, records=False, containers=containers), built)
    original = snapshot(built)
    copy(built, expected)
    begun = time.monotonic()
    assert _start("migrate", expected).wait() == 0
    longest = time.monotonic() - begun
    reference = dump(expected, "vfs")
    copy(built, root)
    ended = killed = 0
    phases: dict[Phase, int] = {}
    for _ in range(kills):
        if _killed(root, chance, longest):
            killed += 1
        else:
            ended += 1
        phase = StateDirectory(root).phase
        phases[phase] = phases.get(phase, 0) + 1
        if phase in (Phase.NONE, Phase.PREPARING):
            tree = snapshot(root, without=(".migrator",))
            if {p: e for p, e in tree.items() if "/.migration-" not in p} != original:
                print(f"FAILED: changed in phase {phase}")
                return 1
        elif phase is Phase.PUBLISHED and dump(root, "vfs") != reference:
            print("FAILED: published, and not the reference")
            return 1
    migration.migrate(root)
    good = dump(root, "vfs") == reference
    recovery.rollback(root)
    tree = snapshot(root)
    good = good and {p: e for p, e in tree.items() if "/.migration-" not in p} == original
    left = ", ".join(f"{phase} {count}" for phase, count in sorted(phases.items()))
    print(f"{killed} killed, {ended} ended before it; phases left: {left}")
    print("the end is the reference" if good else "FAILED: the end is not the reference")
    return 0 if good else 1


def _killed(root: Path, chance: random.Random, longest: float) -> bool:
    """Run a command, kill it at a random moment; whether that was before its end."""
    process = _start(chance.choice(_COMMANDS), root)
    pidfd = os.pidfd_open(process.pid)
    # The moment is what is random here; an end before it is noticed at once.
    select.select([pidfd], [], [], chance.uniform(0, 1.2 * longest))
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
        start_new_session=True,
    )
