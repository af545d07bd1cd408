"""Worker processes that die, are orphaned, or are not there at all."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Store, build, line
from migrator.commands import migrate as migration
from migrator.errors import LayerError
from migrator.system import disk
from migrator.system.worker_pool import Finished, Pool, Progressed, Started
from tests.crash.faults import in_child
from tests.crash.scenarios import copy, dump
from tests.scratch import scratch

LAYERS = 6


@pytest.fixture
def built() -> Iterator[Built]:
    with scratch() as directory:
        yield build(Store("vfs", line(LAYERS), records=False), directory / "root")


def outcomes(events: list[object]) -> dict[int, object]:
    return {e.task: e.result or str(e.error) for e in events if isinstance(e, Finished)}


def killing(times: int) -> Callable[[int, Callable[[int], None]], str]:
    """A job whose worker is killed in the middle of task 1, so many times."""
    deaths = multiprocessing.Value("i", 0)

    def job(task: int, progress: Callable[[int], None]) -> str:
        progress(10)
        if task == 1 and deaths.value < times:
            deaths.value += 1
            os.kill(os.getpid(), signal.SIGKILL)
        progress(5)
        return f"done {task}"

    return job


def test_a_worker_that_dies_costs_one_retry() -> None:
    with Pool(killing(1), 2) as pool:
        events = list(pool.run(range(4)))
    assert outcomes(events) == {n: f"done {n}" for n in range(4)}
    # What the dead worker had told is taken back, so that the sum is right.
    assert sum(e.amount for e in events if isinstance(e, Progressed)) == 4 * 15
    assert sum(isinstance(e, Started) for e in events) == 5


def test_dying_twice_is_an_error_of_that_task() -> None:
    with Pool(killing(2), 2) as pool:
        events = list(pool.run(range(4)))
    error = "its worker process was killed (SIGKILL), twice"
    assert outcomes(events) == {0: "done 0", 1: error, 2: "done 2", 3: "done 3"}


def test_without_workers_all_is_done_here() -> None:
    def job(task: int, progress: Callable[[int], None]) -> int:
        progress(task)
        if task == 2:
            raise LayerError("no")
        return os.getpid()

    with Pool(job, 0) as pool:
        events = list(pool.run(range(1, 4)))
    assert outcomes(events) == {1: os.getpid(), 2: "no", 3: os.getpid()}
    assert [type(event) for event in events] == [Started, Progressed, Finished] * 3


def kill_writers(built: Built, times: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have workers killed while they write the record of one layer, so many times."""
    deaths = multiprocessing.Value("i", 0)
    victim, parent = built.v1_ids[-1], os.getpid()

    def hook(operation: str, path: Path) -> None:
        if operation == "end record" and path.name.startswith(victim) and deaths.value < times:
            assert os.getpid() != parent
            deaths.value += 1
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(disk, "hook", hook)
    return victim


def test_a_worker_killed_in_the_middle_of_a_layer(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(built.root, other := built.root.with_name("other"))
    migration.migrate(other, workers=0)
    kill_writers(built, 1, monkeypatch)
    assert migration.migrate(built.root, workers=2).exit_code == 0
    assert dump(built.root, "vfs") == dump(other, "vfs")


def test_killed_again_that_layer_is_left_out(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = kill_writers(built, 2, monkeypatch)
    summary = migration.migrate(built.root, workers=2)
    assert summary.exit_code == 3
    # The tag is on the image in the middle.
    assert [(p.about, p.name) for p in summary.problems] == [("layer", victim)]
    assert "was killed (SIGKILL), twice" in summary.problems[0].reason
    assert dump(built.root, "vfs")["id_map"].keys() == set(built.v1_ids) - {victim}


def test_workers_end_with_their_parent() -> None:
    begun, begin = os.pipe()
    alive, hold = os.pipe()
    blocked, release = os.pipe()

    def job(task: int, progress: Callable[[int], None]) -> None:
        os.write(begin, b"x")
        # Neither tells nor asks the parent anything.
        os.read(blocked, 1)

    def parent() -> int:
        os.close(release)
        with Pool(job, 2) as pool:
            for event in pool.run(range(2)):
                if event == Started(1, 1):
                    assert os.read(begun, 1) + os.read(begun, 1) == b"xx"
                    os.kill(os.getpid(), signal.SIGKILL)
        return 0

    assert in_child(parent) == -signal.SIGKILL
    os.close(hold)
    # Readable means that nobody holds the other end any more.
    gone = select.select([alive], [], [], 20)[0]
    for fd in (begun, begin, alive, blocked, release):
        os.close(fd)
    assert gone


def followed(events: list[object]) -> dict[int, list[int]]:
    """What each worker did, in its order."""
    done: dict[int, list[int]] = {}
    for event in events:
        if isinstance(event, Started):
            done.setdefault(event.worker, []).append(event.task)
    return done


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_tasks_are_done_in_the_order_chosen(workers: int) -> None:
    lasts: list[int | None] = []

    def greatest_below(last: int | None, waiting: Sequence[int]) -> int | None:
        """Each worker goes down from where it is; none but the first begins anywhere else."""
        lasts.append(last)
        if last is None and len(lasts) > 1:
            return None
        return max(range(len(waiting)), key=lambda index: waiting[index])

    def job(task: int, progress: Callable[[int], None]) -> int:
        return task

    with Pool(job, workers) as pool:
        events = list(pool.run([3, 1, 4, 0, 2], greatest_below))
    assert followed(events) == {0: [4, 3, 2, 1, 0]}
    assert set(lasts) <= {None, 4, 3, 2, 1}


def test_refusing_all_does_not_leave_tasks_undone() -> None:
    with Pool(killing(1), 2) as pool:
        events = list(pool.run(range(4), lambda last, waiting: None))
    assert outcomes(events) == {n: f"done {n}" for n in range(4)}
    assert [task for worker in followed(events).values() for task in worker].count(1) == 2
