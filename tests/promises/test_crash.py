"""A fixed sample of the points that `python -m tests.crash --all` tries."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.checks import try_point, try_unreadable
from tests.crash.faults import Fault, run
from tests.crash.scenarios import (
    COMMANDS,
    CONVERSION_COMMANDS,
    CONVERTED,
    REAL,
    STORES_BUILT,
    Scenario,
    Start,
    prepare,
)
from tests.scratch import scratch

SAMPLE = 4
SCENARIOS = [
    *itertools.product(STORES_BUILT, COMMANDS),
    *itertools.product(CONVERTED, CONVERSION_COMMANDS),
]


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[[str], Start]]:
    starts: dict[str, Start] = {}
    with scratch() as directory:

        def get(name: str) -> Start:
            if name not in starts:
                starts[name] = prepare(name, directory / str(len(starts)))
            return starts[name]

        yield get


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize(("name", "command"), SCENARIOS)
def test_points(
    name: str, command: str, fault: Fault, start: Callable[[str], Start], memory: Path
) -> None:
    scenario = Scenario(start(name), command)
    scenario.begin(memory / "root")
    points = run(scenario.arguments(memory / "root")).points
    numbers = [n for n, point in enumerate(points) if fault.concerns(point.rpartition(" ")[0])]
    assert len(numbers) > SAMPLE
    for number in numbers[len(numbers) // (2 * SAMPLE) :: len(numbers) // SAMPLE]:
        try_point(scenario, fault, number, memory)


def test_points_of_a_real_store(start: Callable[[str], Start], memory: Path) -> None:
    scenario = Scenario(start(REAL), "migrate")
    scenario.begin(memory / "root")
    points = run(["migrate", "-g", memory / "root", "-q"]).points
    published = next(n for n, point in enumerate(points) if point.startswith("rename done"))
    for number in (published, len(points) // 2, points.index(f"syncfs {memory}/root/.migrator")):
        try_point(scenario, Fault.KILL, number, memory)


@pytest.mark.parametrize("point", [60, 100, 140])
def test_workers_are_killed_too(point: int, start: Callable[[str], Start], memory: Path) -> None:
    try_point(Scenario(start("without records"), "migrate", 2), Fault.KILL, point, memory)


@pytest.mark.parametrize("name", ["with records", "without records"])
def test_layers_that_cannot_be_read(name: str, start: Callable[[str], Start], memory: Path) -> None:
    for read in (0, 5, 11):
        assert try_unreadable(Scenario(start(name), "migrate"), read, memory)
