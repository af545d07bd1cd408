"""What a run of the tests must not leave behind: files, mounts, loop devices, processes.

All temporary files have one directory, those in memory another. Whatever is in them at
the end, or comes from there, is left over, and fails the run. Then both are removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scratch import MEMORY

# Where programs may put something whatever they are told, and what ours and those that the
# tests run have in their names.
_ELSEWHERE = tuple(map(Path, ("/tmp", "/var/tmp", "/dev/shm", "/run")))
_NAMES = ("docker", "containerd", "podman", "libpod", "zfs")

# Empty directories that Docker makes although its own are elsewhere.
_OF_DOCKER = ("docker/plugins", "docker", "containerd/s", "containerd", "runc")


class Leftovers:
    """A plugin of the process that distributes the tests."""

    def __init__(self) -> None:
        self._before = set(_elsewhere())
        self._places = [_private("TMPDIR", Path(tempfile.gettempdir()))]
        if os.access("/dev/shm", os.W_OK):
            self._places.append(_private(MEMORY, Path("/dev/shm")))
        tempfile.tempdir = None
        self._left: list[str] = []

    # The workers of pytest-xdist have ended then.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for name in _OF_DOCKER:
            if Path("/run", name.partition("/")[0]) not in self._before:
                with contextlib.suppress(OSError):
                    Path("/run", name).rmdir()
        self._left = [*self._found(), *map(str, set(_elsewhere()) - self._before)]
        if self._left:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for place in self._places:
            for point in _mounts(place):
                subprocess.run(["umount", "--lazy", point], check=True)
            subprocess.run(["chmod", "--recursive", "u+rwX", place], check=True)
            shutil.rmtree(place)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for each in self._left:
            terminalreporter.write_line(f"left behind: {each}", red=True)

    def _wait_for_loop_devices(self, place: Path) -> None:
        """The kernel lets go of them when the last namespace has forgotten the mount."""
        end = time.monotonic() + 30
        while any(_backing_files(place)) and time.monotonic() < end:
            time.sleep(0.1)

    def _found(self) -> Iterator[str]:
        for place in self._places:
            self._wait_for_loop_devices(place)
            yield from (str(path) for path in place.iterdir() if "pytest-of-" not in path.name)
            yield from (f"mounted: {point}" for point in _mounts(place))
            yield from (f"loop device on {file}" for file in _backing_files(place))
        yield from (f"process: {command}" for command in _processes(self._places[0]))


def _private(variable: str, parent: Path) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="migrator-tests-", dir=parent))
    # Some tests go on as another user.
    directory.chmod(0o711)
    os.environ[variable] = str(directory)
    return directory


def _elsewhere() -> Iterator[Path]:
    for directory in _ELSEWHERE:
        yield from (path for path in directory.iterdir() if path.name.startswith(_NAMES))


def _mounts(place: Path) -> list[str]:
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in points if point.startswith(f"{place}/")][::-1]


def _backing_files(place: Path) -> Iterator[str]:
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if (name := file.read_text()).startswith(f"{place}/"):
                yield name.strip()


def _processes(place: Path) -> Iterator[str]:
    """The commands of those that have the directory from us."""
    given = f"TMPDIR={place}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (process / "environ").read_bytes().split(b"\0")
            inherited = any(each.startswith(given) for each in variables)
            if inherited and process.name != str(os.getpid()):
                yield (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
