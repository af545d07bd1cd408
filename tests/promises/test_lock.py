"""One command at a time on a data root."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Store, build
from migrator.errors import DataRootError
from migrator.state.lock import exclusive
from tests.command import migrator, snapshot
from tests.crash.faults import ended, fork
from tests.scratch import scratch


@pytest.fixture
def built() -> Iterator[Built]:
    with scratch() as directory:
        yield build(Store(), directory / "root")


def holder(root: Path) -> int:
    """Start a process that holds the lock and does nothing more; returns its PID."""
    held, hold = os.pipe()

    def work() -> int:
        with exclusive(root):
            os.write(hold, b"x")
            signal.pause()
        return 0

    pid = fork(work)
    os.read(held, 1)
    os.close(held)
    os.close(hold)
    return pid


@pytest.mark.parametrize("command", ["migrate", "checksums", "rollback"])
def test_a_second_run_says_who_is_at_work(command: str, built: Built) -> None:
    (built.root / ".migrator").mkdir()
    before = snapshot(built.root)
    pid = holder(built.root)
    run = migrator(command, "-g", built.root)
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    assert run.returncode == 1
    assert f"another migrator is at work here: process {pid} (" in run.stderr
    assert snapshot(built.root) == before


def test_a_crash_releases_it(built: Built) -> None:
    pid = holder(built.root)
    with pytest.raises(DataRootError), exclusive(built.root):
        pass
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    with exclusive(built.root):
        pass


def test_a_forked_process_does_not_keep_it(built: Built) -> None:
    started, start = os.pipe()

    def work() -> int:
        os.write(start, b"x")
        signal.pause()
        return 0

    with exclusive(built.root):
        pid = fork(work)
        os.read(started, 1)
    os.close(started)
    os.close(start)
    try:
        with exclusive(built.root):
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        ended(pid)
