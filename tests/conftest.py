"""The real stores, unpacked once a session, and what Docker 1.10.3 made of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.leftovers import Leftovers
from tests.scratch import scratch

# How long a test takes says nothing on a machine that does other things, too.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

UNIT = Path(__file__).parent / "unit"

HANGS = 600
"""Seconds after which a test does not come to an end any more, on however busy a machine."""

STORES = Path(__file__).parent.parent / "legacy_fixtures" / "stores"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast", action="store_true", help="without root, skip tests that need it (tests/unit)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "root: other people's files, devices or mounts are needed")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Leftovers())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    """Begin with tests of one package, then with what takes long in one worker.

    No other worker has to wait for that at the end.
    """
    items.sort(
        key=lambda item: (
            not item.path.is_relative_to(UNIT),
            item.get_closest_marker("xdist_group") is None,
        )
    )
    if config.getoption("fast") and os.geteuid():
        for item in items:
            # Real stores have owners and devices.
            if item.get_closest_marker("root") or "store" in item.fixturenames:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """What would hang, or takes quadratic time for much, fails."""

    def stop(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"no end after {HANGS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory for the test, in memory if possible."""
    with scratch() as directory:
        yield directory


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A store by name, unpacked; not to be written to."""
    unpacked: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if name not in unpacked:
            directory = tmp_path_factory.mktemp("store")
            options = [
                "--numeric-owner",
                "--xattrs",
                "--xattrs-include=*",
                "--warning=no-timestamp",
            ]
            archive = STORES / f"{name}.tar.xz"
            subprocess.run(["tar", "-C", directory, *options, "-xpJf", archive], check=True)
            unpacked[name] = directory
        return unpacked[name]

    return unpack


@pytest.fixture
def store_copy(store: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A private copy of a store by name."""

    def copy(name: str) -> Path:
        target = tmp_path / name
        subprocess.run(["cp", "-a", store(name), target], check=True)
        return target

    return copy


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, Any]]:
    """What Docker made of a store by name, as `dump_store.py` prints it."""
    return lambda name: json.loads((STORES / f"{name}.golden.json").read_text())
