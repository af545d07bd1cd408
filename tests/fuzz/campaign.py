"""Many inputs for one parser, and what was found."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from random import Random

from tests.fuzz.parsers import PARSERS, Files
from tests.fuzz.watch import judge, limits


@dataclass(slots=True)
class Finding:
    """The first input of those that fail in one place; `number` makes it again."""

    number: int
    files: Files
    traceback: str
    times: int = 1


@dataclass(slots=True)
class Result:
    """`refused` inputs raised a MigratorError; the others were taken or are findings."""

    parser: str
    inputs: int
    refused: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def run(name: str, inputs: int, seed: int) -> Result:
    """Make and judge inputs 0 to `inputs` of a parser."""
    parser = PARSERS[name]
    result = Result(name, inputs)
    places: dict[str, Finding] = {}
    begun = time.perf_counter()
    # Unbounded, what making the first input reads would count as its own.
    parser.make(Random(seed))
    with limits():
        for number in range(inputs):
            files = parser.make(Random(f"{name} {seed} {number}"))
            verdict = judge(parser, files)
            result.refused += verdict.refused
            if verdict.failed_at in places:
                places[verdict.failed_at].times += 1
            elif verdict.failed_at is not None:
                places[verdict.failed_at] = Finding(number, files, verdict.traceback)
    result.seconds = time.perf_counter() - begun
    result.findings = list(places.values())
    return result


def replay(name: str, files: Files) -> str | None:
    """The traceback of a saved input; None when nothing is wrong with it any more."""
    with limits():
        return judge(PARSERS[name], files).traceback or None
