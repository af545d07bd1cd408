"""A walk: random steps, and every so often a look at what migrator makes of the data root."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from migrator import migrate, verify
from migrator.commands.export import export
from tests.docker.daemon import Daemon
from tests.walk.actions import Actions
from tests.walk.roots import copied, data_root
from tests.walk.shown import Shown, described, difference


class Disagreement(AssertionError):
    """What migrator and Docker do not agree about."""


@dataclass(slots=True)
class Walked:
    """How much was done: steps, and checks with the images, containers in them, added up."""

    steps: int = 0
    checks: int = 0
    images: int = 0
    containers: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


def walk(
    driver: str,
    steps: int,
    seed: int,
    directory: Path,
    every: int = 20,
    tell: Callable[[str], object] = lambda _: None,
) -> Walked:
    """Do `steps` steps on a new data root below `directory`, with a check after `every` of them.

    `tell` gets a line a step. Raises AssertionError.
    """
    chance = random.Random(f"{driver} {seed}")
    done = Walked()
    with data_root(driver, directory) as root:
        daemon = Daemon(root, driver)
        try:
            actions = Actions(daemon, chance, directory)
            while done.steps < steps:
                with daemon:
                    for _ in range(min(every, steps - done.steps)):
                        did = actions.step()
                        done.steps += 1
                        kind = did.split()[0]
                        done.kinds[kind] = done.kinds.get(kind, 0) + 1
                        tell(f"{driver} {done.steps}: {did}")
                    shown = described(daemon, directory)
                done.checks += 1
                done.images += len(shown["configs"])
                done.containers += len(shown["containers"])
                check(root, driver, shown, directory, deep=done.checks % 2 == 1)
        finally:
            daemon.remove()
    return done


def check(root: Path, driver: str, shown: Shown, directory: Path, *, deep: bool) -> None:
    """Check a data root that its daemon has left, and what becomes of it on overlay2."""
    _verify(root, deep)
    if shown["configs"]:
        _export(root, set(shown["configs"]), directory / "exported.tar")
    if driver == "overlay2":
        return
    with copied(root) as copy:
        summary = migrate(copy, target_driver="overlay2")
        if summary.exit_code:
            raise Disagreement(f"migrate left out: {[*map(str, summary.problems)]}")
        _verify(copy, deep=True)
        daemon = Daemon(copy, "overlay2")
        try:
            with daemon:
                now = described(daemon, directory)
        finally:
            daemon.remove()
    if found := difference(shown, now):
        raise Disagreement(f"on overlay2 the daemon shows something else: {found}")


def _verify(root: Path, deep: bool) -> None:
    report = verify(root, deep=deep)
    if not report.passed:
        raise Disagreement("verify found:\n" + "\n".join(report.lines()))


def _export(root: Path, images: set[str], output: Path) -> None:
    summary = export(root, output, layout="docker-archive")
    left_out = images.difference(image.image_id for image in summary.images)
    if summary.exit_code or left_out:
        problems = [*map(str, summary.problems)]
        raise Disagreement(f"export left out {sorted(left_out)}: {problems}")
    output.unlink()
