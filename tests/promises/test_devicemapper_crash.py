"""Killed or failing anywhere between a thin pool and its mounted layers: nothing stays."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legacy_fixtures.build import line
from migrator.commands.rollback import rollback
from migrator.drivers.thinpool.image import PREFIX
from tests.command import dump, snapshot
from tests.crash.faults import Fault, run
from tests.scratch import scratch
from tests.stores.thinstore import left_over, mounts, thin_store

# What is done to a file system, or to the kernel's tables, for the sake of reading.
OPERATIONS = ("list", "create", "write", "loop", "mount", "unmount")


class Start:
    """A store, what it is like, and what an undisturbed migration makes of it."""

    def __init__(self, directory: Path) -> None:
        self.work = directory / "work"
        self.legacy = directory / "legacy"
        self.root = directory / "root"
        self.work.mkdir()
        thin_store(self.legacy, layers=line(2))
        self.original = snapshot(self.legacy)
        self.begin()
        self.points = self.run(0).points
        self.reference = self.dump()

    def begin(self) -> None:
        subprocess.run(["rm", "-rf", self.root], check=True)
        subprocess.run(["cp", "-a", self.legacy, self.root], check=True)

    def run(self, workers: int, **fault: Any):  # type: ignore[no-untyped-def]
        arguments = ["migrate", "-g", self.root, "-q", "--work-dir", self.work]
        return run(arguments, workers=workers, **fault)

    def dump(self) -> dict[str, Any]:
        return dump(self.root, "devicemapper")

    def points_of(self, operation: str) -> list[int]:
        """The points before and after what is done so below the work directory, or to mounts."""
        where = (str(self.work), "/dev/loop-control", f"{self.root}/devicemapper")
        names = (operation, f"{operation} done")
        return [
            number
            for number, point in enumerate(self.points)
            if point.rpartition(" ")[0] in names and point.rpartition(" ")[2].startswith(where)
        ]

    def check(self) -> None:
        """Another run completes, clears, and can be taken back."""
        assert self.run(2).code == 0
        assert self.dump() == self.reference
        assert not left_over(self.work)
        assert not os.listdir(self.work)
        rollback(self.root)
        assert snapshot(self.root) == self.original


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    with scratch() as directory:
        yield Start(directory)


def wait_until_gone(work: Path) -> list[str]:
    """What is left when the last worker of a killed group is gone, too."""
    end = time.monotonic() + 10
    while (left := left_over(work)) and time.monotonic() < end:
        os.sched_yield()
    return left


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed(operation: str, start: Start) -> None:
    points = start.points_of(operation)
    for point in {points[0], points[-1]}:
        start.begin()
        assert start.run(0, fault=Fault.KILL, point=point).code == -9
        assert not wait_until_gone(start.work)
        assert not mounts()
    start.check()


def test_killed_with_its_workers(start: Start) -> None:
    start.begin()
    middle = start.points_of("mount")[-1]
    assert start.run(2, fault=Fault.KILL, point=middle).code == -9
    assert not wait_until_gone(start.work)
    start.check()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_failing(operation: str, start: Start) -> None:
    fault = Fault.FULL if operation in ("create", "write") else Fault.BROKEN
    start.begin()
    ended = start.run(0, fault=fault, point=start.points_of(operation)[0])
    assert ended.code == 1, ended
    assert "Traceback" not in ended.output
    assert str(start.work) in ended.output or fault is Fault.BROKEN
    assert not left_over(start.work)
    start.check()


def test_what_was_killed_before_it_had_no_name_is_cleared(start: Start) -> None:
    start.begin()
    (start.work / f"{PREFIX}abc").touch()
    start.check()
