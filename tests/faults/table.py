"""Trials as Markdown: a row for each kind of fault, a column for each place."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.kinds import KINDS
from tests.faults.places import Place
from tests.faults.trials import Trial, Way

_SHORT = {Way.QUICK: "quick", Way.PLAIN: "plain", Way.DEEP: "deep"}


def table(trials: Sequence[Trial]) -> str:
    """The least that finds all faults of a kind in a place, or how many deep finds of how many."""
    places = [place for place in Place if any(each.place is place for each in trials)]
    lines = [f"| fault | {' | '.join(places)} |", "| --- |" + " --- |" * len(places)]
    for kind in KINDS:
        of_kind = [each for each in trials if each.kind is kind]
        cells = (_cell([each for each in of_kind if each.place is place]) for place in places)
        lines.append(f"| {kind.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(trials: Sequence[Trial]) -> str:
    if not trials:
        return ""
    for way in Way:
        if all(way in each.ways for each in trials):
            return _SHORT[way]
    found = sum(Way.DEEP in each.ways for each in trials)
    return f"{found}/{len(trials)}"
