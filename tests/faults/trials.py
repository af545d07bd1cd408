"""Applying faults, and asking `verify` whether it sees them."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from migrator.commands.verify import verify
from migrator.errors import MigratorError
from migrator.store.findings import Finding
from tests.faults.kinds import KINDS, Kind
from tests.faults.places import MigratedRoot, Place


class Way(enum.Enum):
    """How `verify` can be asked. Each does all that those before it do."""

    QUICK = "--quick"
    PLAIN = "plain"
    DEEP = "--deep"


Found = dict[Way, frozenset[Finding | str]]


@dataclass(frozen=True)
class Trial:
    """A fault that was tried, and the ways that find it."""

    place: Place
    kind: Kind
    path: Path
    ways: frozenset[Way]


def findings(root: MigratedRoot, way: Way) -> frozenset[Finding | str]:
    """What is found; a refusal to check counts as well."""
    quick, deep = way is Way.QUICK, way is Way.DEEP
    try:
        return frozenset(verify(root.path, quick=quick, deep=deep, workers=0).findings)
    except MigratorError as error:
        return frozenset([str(error)])


def trials(root: MigratedRoot, count: int, seed: int, *, all_ways: bool = False) -> Iterator[Trial]:
    """Try `count` faults, as many of each kind in each place.

    Ways that do more than one that has found a fault already are taken to find
    it, too, unless `all_ways` are to be tried.
    """
    known = {way: findings(root, way) for way in Way}
    chance = random.Random(f"{seed} {root.name}")
    cells = list(_cells(root))
    for number in range(count):
        place, kind, paths = cells[number % len(cells)]
        path = chance.choice(paths)
        with kind.apply(root, path, chance):
            ways = frozenset(_ways(root, known, all_ways))
        yield Trial(place, kind, path, ways)


def _ways(root: MigratedRoot, known: Found, all_ways: bool) -> Iterator[Way]:
    found = False
    for way in Way:
        if all_ways or not found:
            found = not findings(root, way) <= known[way]
        if found:
            yield way


def _cells(root: MigratedRoot) -> Iterator[tuple[Place, Kind, list[Path]]]:
    for place, things in root.things.items():
        status = {path: path.lstat() for path in things}
        for kind in KINDS:
            paths = [path for path in things if kind.concerns(status[path])]
            if paths and place in kind.places:
                yield place, kind, paths
