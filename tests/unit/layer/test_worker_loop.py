"""The loop over layers: what it gives, what it tells of progress, and what ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from migrator import drivers
from migrator.errors import (
    DriverError,
    FormatError,
    LayerError,
    MigratorError,
    MissingCapability,
    PermissionDenied,
    RecordError,
    StoreError,
)
from migrator.layer.worker_loop import Done, each_layer
from migrator.progress import Progress

Job = Callable[["Work", Callable[[int], None]], str]


@dataclass(frozen=True)
class Work:
    name: str
    parent_id: str | None = None
    size: int = 10

    @property
    def layer_id(self) -> str:
        return self.name.lower()


class Told(Progress):
    """Keeps what it is told of."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def begin(self, what: str, layers: int, size: int) -> None:
        self.events.append((what, layers, size))

    def started(self, layer: str) -> None:
        self.events.append(("started", layer))

    def advanced(self, amount: int) -> None:
        self.events.append(("advanced", amount))

    def done(self, layer: str, error: str | None = None) -> None:
        self.events.append(("done", layer, error))

    def end(self) -> None:
        self.events.append(("end",))


def raising(error: MigratorError) -> Job:
    """A job that fails so with the layer B."""

    def job(task: Work, progress: Callable[[int], None]) -> str:
        progress(task.size)
        if task.name == "B":
            raise error
        return f"done {task.name}"

    return job


def loop(job: Job, workers: int, told: Progress, root: Path) -> list[Done[Work, str]]:
    tasks = [Work(name) for name in "ABC"]
    return list(each_layer("reading", tasks, job, drivers.get("vfs", root), workers, told))


@pytest.mark.parametrize("error", [LayerError("no"), RecordError("no"), FormatError("no")])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_of_a_layer_is_its_own(error: MigratorError, workers: int, tmp_path: Path) -> None:
    told = Told()
    found = {done.task.name: done for done in loop(raising(error), workers, told, tmp_path)}
    assert {name: (done.result, done.amount) for name, done in found.items()} == {
        "A": ("done A", 10),
        "B": (None, 10),
        "C": ("done C", 10),
    }
    assert [type(done.error) for done in found.values() if done.error] == [type(error)]
    assert (told.events[0], told.events[-1]) == (("reading", 3, 30), ("end",))
    assert ("done", "B", "no") in told.events
    assert ("done", "C", None) in told.events


@pytest.mark.parametrize(
    "error",
    [StoreError("no"), DriverError("no"), PermissionDenied("no"), MissingCapability("no")],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_no_fault_of_a_layer_ends_the_run(
    error: MigratorError, workers: int, tmp_path: Path
) -> None:
    told = Told()
    with pytest.raises(type(error), match="no"):
        loop(raising(error), workers, told, tmp_path)
    assert told.events[-1] == ("end",)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 2])
def test_leaving_the_loop_stops_the_workers(workers: int, tmp_path: Path) -> None:
    told, job = Told(), raising(LayerError("no"))
    with pytest.raises(StoreError, match="full"):
        for _ in each_layer(
            "reading", [Work("A")], job, drivers.get("vfs", tmp_path), workers, told
        ):
            raise StoreError("full")
    assert told.events[-1] == ("end",)
    assert not multiprocessing.active_children()


def test_what_a_dead_worker_had_done_does_not_count(tmp_path: Path) -> None:
    deaths = multiprocessing.Value("i", 0)

    def job(task: Work, progress: Callable[[int], None]) -> str:
        progress(4)
        if task.name == "B" and not deaths.value:
            deaths.value += 1
            os.kill(os.getpid(), signal.SIGKILL)
        progress(6)
        return ""

    told = Told()
    assert [done.amount for done in loop(job, 2, told, tmp_path)] == [10, 10, 10]
    assert sum(event[1] for event in told.events if event[0] == "advanced") == 30  # type: ignore[misc]


def test_what_is_told_of_a_layer_may_come_out_of_its_result(tmp_path: Path) -> None:
    told, driver = Told(), drivers.get("vfs", tmp_path)
    work = each_layer(
        *("reading", [Work("A")], raising(LayerError("no")), driver, 0, told),
        fault=lambda done: f"{done.result}, but badly",
    )
    assert [done.result for done in work] == ["done A"]
    assert ("done", "A", "done A, but badly") in told.events
