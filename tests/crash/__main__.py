"""`python -m tests.crash`: see the package."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.crash.checks import try_point, try_unreadable
from tests.crash.faults import Fault, run
from tests.crash.scenarios import (
    COMMANDS,
    CONVERSION_COMMANDS,
    CONVERTED,
    REAL,
    SECOND,
    STORES_BUILT,
    Scenario,
    Start,
    prepare,
)
from tests.crash.soak import soak
from tests.scratch import scratch

# Points of a scenario and fault that are tried unless all are wanted; of the real store always.
_SAMPLE = 8


def scenarios(starts: dict[str, Start]) -> Iterator[Scenario]:
    """All of them."""
    for start in starts.values():
        for command in COMMANDS if not start.target else CONVERSION_COMMANDS:
            yield Scenario(start, command)
    yield Scenario(starts["without records"], "migrate", workers=2)
    yield Scenario(starts["legacy to overlay2"], "migrate", workers=2)
    yield Scenario(starts["second time"], "migrate", workers=2)


def main() -> int:
    """Try points, print how many and what failed; 1 if anything did."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--all", action="store_true", help="every point (but of the real store)")
    parser.add_argument("--seed", type=int, default=0, help="for the choice of points")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with TEXT in the name"
    )
    parser.add_argument("--soak", type=int, metavar="N", help="kill N times at random moments")
    parser.add_argument("--store", type=Path, help="the legacy store for that (not changed)")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with scratch() as directory:
        if given.soak is not None:
            return soak(directory, given.soak, chance, given.store)
        names = (*STORES_BUILT, *CONVERTED, *SECOND, REAL)
        starts = {n: prepare(n, directory / f"start{i}") for i, n in enumerate(names)}
        begun, tried, failed = time.monotonic(), 0, 0
        for scenario in scenarios(starts):
            if given.only not in scenario.name:
                continue
            every = given.all and scenario.start.name != REAL
            for what, number, failures in _try(scenario, every, chance, directory):
                print(f"{scenario.name:45} {what:12} {number:5} points", flush=True)
                for failure in failures:
                    print(f"    FAILED at {failure}", flush=True)
                tried += number
                failed += len(failures)
        took = time.monotonic() - begun
    print(f"{tried} points tried, {failed} failed, {took:.0f} s (seed {given.seed})")
    return 1 if failed or not tried else 0


def _try(
    scenario: Scenario, every: bool, chance: random.Random, directory: Path
) -> Iterator[tuple[str, int, list[str]]]:
    """What was tried, at how many points, and where it failed."""
    root = directory / "root"
    scenario.begin(root)
    points = run(scenario.arguments(root), workers=scenario.workers).points
    for fault in Fault:
        numbers = [n for n, point in enumerate(points) if fault.concerns(point.rpartition(" ")[0])]
        failures = []
        chosen = numbers if every else sorted(chance.sample(numbers, min(_SAMPLE, len(numbers))))
        for number in chosen:
            try:
                try_point(scenario, fault, number, directory)
            except Exception as error:
                failures.append(f"{number} ({points[number]}): {type(error).__name__}: {error}")
        yield fault.value, len(chosen), failures
    if scenario.command == "migrate" and not scenario.workers:
        failures, number = [], 0
        for number in itertools.count():
            try:
                if not try_unreadable(scenario, number, directory):
                    break
            except Exception as error:
                failures.append(f"read {number}: {type(error).__name__}: {error}")
            if number == _SAMPLE and not every:
                break
        yield "bad read", number, failures


if __name__ == "__main__":
    sys.exit(main())
