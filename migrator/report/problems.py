"""Problems, as lines for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from migrator.errors import Problem
from migrator.text import printable


def problem_lines(problems: Sequence[Problem], left_out: str = "Not migrated") -> Iterator[str]:
    """What is left out, under that title, then news; safe to print on a terminal."""
    for title, fatal in ((left_out, True), ("Worth knowing", False)):
        chosen = [problem for problem in problems if problem.fatal is fatal]
        if chosen:
            yield f"{title} ({len(chosen)}):"
        for problem in chosen:
            hint = f" ({problem.hint})" if problem.hint else ""
            yield printable(f"  {problem}{hint}")


def problems_as_json(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """One object each; `left_out` says whether something was not migrated for it."""
    return [
        {
            "about": str(problem.about),
            "name": printable(problem.name),
            "reason": printable(problem.reason),
            "hint": printable(problem.hint),
            "left_out": problem.fatal,
        }
        for problem in problems
    ]
