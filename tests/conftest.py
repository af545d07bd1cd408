"""The real stores, unpacked once a session, and what Docker 1.10.3 made of them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long a test takes says nothing on a machine that does other things, too.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

HANGS = 600
"""Seconds after which a test does not come to an end any more, on however busy a machine."""

STORES = Path(__file__).parent.parent / "legacy_fixtures" / "stores"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long in one worker, so that no other has to wait for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


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
