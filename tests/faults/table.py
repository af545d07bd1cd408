"""Trials as Markdown: a row for each kind of fault in each place, a column for each way."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.kinds import KINDS
from tests.faults.places import Place
from tests.faults.trials import Trial, Way


def table(trials: Sequence[Trial]) -> str:
    """How many were found, of how many that were tried."""
    lines = [
        f"| fault | {' | '.join(f'`{w.value}`' if w.value[0] == '-' else w.value for w in Way)} |",
        "| --- |" + " --- |" * len(Way),
    ]
    for place in Place:
        for kind in KINDS:
            tried = [each for each in trials if each.place is place and each.kind is kind]
            if tried:
                found = (sum(way in each.ways for each in tried) for way in Way)
                cells = " | ".join(f"{number}/{len(tried)}" for number in found)
                lines.append(f"| {place}: {kind.name} | {cells} |")
    return "\n".join(lines)
