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
from migrator import cli, disk, migration, recovery
from tests.command import snapshot
from tests.crash.faults import in_child
from tests.crash.scenarios import copy, dump, scratch

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
            os.write(reach, b"%d\n" % os.getpgid(0))
            # Until the signal; whoever it does not concern goes on once it was sent.
            os.read(ready, 1)

    def child() -> int:
        os.setsid()
        os.close(release)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout = sys.stderr = os.fdopen(out, "w", buffering=1)
        disk.hook = hook
        return cli.run(["migrate", "-g", str(root), "--workers", "2", "-q"])

    pid = os.fork()
    if not pid:
        os._exit(-in_child(child) if False else _exit_code(child))
    os.close(out)
    os.close(reach)
    assert select.select([reached], [], [], 60)[0]
    os.read(reached, 100)
    os.killpg(pid, number)
    os.close(release)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = b""
    # The end of the output comes when the last worker is gone.
    while block := os.read(output, 1 << 16):
        text += block
    for fd in (reached, output, ready):
        os.close(fd)
    return code, text.decode()
