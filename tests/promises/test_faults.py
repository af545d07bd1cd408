"""A short, fixed sample of what `python -m tests.faults` tries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import snapshot
from tests.faults.places import OVERLAY2, MigratedRoot, Place, make
from tests.faults.table import table
from tests.faults.trials import Trial, Way, trials
from tests.scratch import scratch

# Each kind of fault in each place of a store at least once.
COUNT = 130

CONTENT = (
    *("a flipped bit, times as before", "truncated", "emptied", "swapped with another"),
    *("removed", "a device instead", "a symbolic link to it instead"),
)
ATTRIBUTES = ("another mode", "another owner", "another target of a symbolic link")
# Places in which nothing may be damaged without being found, and the way that suffices.
PUBLISHED = {Place.METADATA: Way.QUICK, Place.RECORD: Way.QUICK, Place.CONFIG: Way.QUICK}
LAYERS = {Place.OWN: Way.PLAIN, Place.INHERITED: Way.DEEP}


# Else each worker would put all faults into a store of its own.
pytestmark = pytest.mark.xdist_group("faults")


@pytest.fixture(scope="module", params=[None, OVERLAY2], ids=["in place", OVERLAY2])
def tried(request: pytest.FixtureRequest) -> Iterator[tuple[MigratedRoot, list[Trial]]]:
    with scratch() as directory:
        root = make("docker-1.9.1-overlay-pulled", request.param, directory / "store")
        before = snapshot(root.path)
        # The slowest way is asked about all of one store only.
        found = list(trials(root, COUNT, 0, all_ways=request.param is None))
        assert snapshot(root.path) == before, "a fault was not undone"
        yield root, found


def missed(found: list[Trial], place: Place, kinds: tuple[str, ...], way: Way) -> list[Path]:
    chosen = [t for t in found if t.place is place and t.kind.name in kinds]
    assert chosen or place in (Place.INHERITED, Place.SHORT_NAME)
    return [trial.path for trial in chosen if way not in trial.ways]


def test_each_way_finds_what_the_one_before_finds(
    tried: tuple[MigratedRoot, list[Trial]],
) -> None:
    for trial in tried[1]:
        ways = [way in trial.ways for way in Way]
        assert ways == sorted(ways), trial


def test_what_was_published_and_damaged_is_found(tried: tuple[MigratedRoot, list[Trial]]) -> None:
    for place, way in PUBLISHED.items():
        assert missed(tried[1], place, CONTENT, way) == []
    assert missed(tried[1], Place.SHORT_NAME, CONTENT, Way.QUICK) == []


def test_damage_to_layers_is_found(tried: tuple[MigratedRoot, list[Trial]]) -> None:
    for place, way in LAYERS.items():
        changed = ("a flipped bit, times as before", "truncated", "emptied")
        assert missed(tried[1], place, changed, way) == []
        assert missed(tried[1], place, (*CONTENT, "a file added"), Way.DEEP) == []
    assert missed(tried[1], Place.OWN, ATTRIBUTES, Way.DEEP) == []


def test_the_table_says_what_is_not_found(tried: tuple[MigratedRoot, list[Trial]]) -> None:
    rows = {line.split(" | ")[0]: line for line in table(tried[1]).splitlines()}
    assert rows["| removed"].startswith("| removed | quick | quick | quick |")
    assert rows["| another mode"].startswith("| another mode | 0/")
