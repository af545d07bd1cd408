"""Ctrl-C and SIGTERM: all stops at once, and goes on with the next run."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Container, Store, build, line
from migrator import cli
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.system import disk
from tests.command import snapshot
from tests.crash.faults import ended, fork
from tests.crash.scenarios import copy, dump
from tests.scratch import scratch

CONTAINERS = (Container("db"), Container("web", 1, {"database": "db"}))


@pytest.fixture
def built() -> Iterator[Built]:
    with scratch() as directory:
        store = Store("vfs", line(4), records=False, containers=CONTAINERS)
        yield build(store, directory / "root")


def in_a_worker(root: Path) -> str:
    return f"end record {root}/.migrator/records"


def while_staging(root: Path) -> str:
    return f"write {root}/.migrator/stage/image"


def while_publishing(root: Path) -> str:
    return f"rename {root}/containers"


def interrupt(root: Path, number: signal.Signals, point: str) -> tuple[int, str]:
    """Migrate with two workers, and send a signal when `point` is reached.

    It goes to the whole process group, as a terminal's does. Returns exit code
    and output, once all processes are gone.
    """
    reached, reach = os.pipe()
    output, out = os.pipe()
    ready, release = os.pipe()

    def hook(operation: str, path: Path) -> None:
        if f"{operation} {path}".startswith(point):
            os.write(reach, b"x")
            # Nothing ever comes: this waits for the signal.
            os.read(ready, 1)

    def child() -> int:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout = sys.stderr = os.fdopen(out, "w", buffering=1)
        disk.hook = hook
        return cli.run(["migrate", "-g", str(root), "--workers", "2", "-q"])

    pid = fork(child)
    os.close(out)
    os.close(ready)
    assert select.select([reached], [], [], 60)[0]
    os.killpg(pid, number)
    code = ended(pid)
    text = b""
    # The end of the output comes when the last worker is gone.
    while block := os.read(output, 1 << 16):
        text += block
    for fd in (reached, reach, output, release):
        os.close(fd)
    return code, text.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", [in_a_worker, while_staging, while_publishing])
def test_stops_at_once_and_goes_on(
    where: Callable[[Path], str], number: signal.Signals, built: Built
) -> None:
    before = snapshot(built.root)
    copy(built.root, other := built.root.with_name("other"))
    migration.migrate(other, workers=0)

    code, output = interrupt(built.root, number, where(built.root))

    assert code == 4
    assert output.lstrip("\n").startswith("migrator: ")
    assert f"run the same command again to go on, or `migrator rollback -g {built.root}`" in output
    assert "Traceback" not in output
    copy(built.root, undone := built.root.with_name("undone"))
    rollback(undone)
    assert snapshot(undone) == before
    summary = migration.migrate(built.root, workers=0)
    assert summary.exit_code == 0
    if where is not in_a_worker:
        assert all(layer.kept for layer in summary.layers)
    assert dump(built.root, "vfs") == dump(other, "vfs")
