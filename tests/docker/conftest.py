"""Daemons on migrated stores; one a store serves all tests that only look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docker.daemon import Daemon
from tests.docker.stores import DRIVERS, OF_EACH_DRIVER, Store, store_for_daemon

Unpack = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Served:
    """A migrated store and the daemon that runs on it."""

    store: Store
    daemon: Daemon

    def errors(self) -> list[str]:
        """The daemon's errors, but for those about what was not migrated."""
        return self.daemon.errors(besides=self.store.not_migrated())


def _in_one_worker(names: tuple[str, ...]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.xdist_group(f"{name}")) for name in names]


@pytest.fixture(scope="session", params=_in_one_worker(tuple(DRIVERS)))
def _running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    store: Unpack,
    golden: Golden,
) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("served")
    with store_for_daemon(request.param, directory, store, golden) as copy:
        copy.migrate()
        with Daemon(copy.root, copy.driver) as daemon:
            yield Served(copy, daemon)
        daemon.remove()


@pytest.fixture
def served(_running: Served) -> Iterator[Served]:
    """A migrated store with a daemon on it, to look at; the daemon has nothing to complain of."""
    yield _running
    assert _running.errors() == []


@pytest.fixture(params=OF_EACH_DRIVER)
def private(
    request: pytest.FixtureRequest, tmp_path: Path, store: Unpack, golden: Golden
) -> Iterator[Served]:
    """A store, not yet migrated, and a daemon for it, not yet running, to do anything with."""
    with store_for_daemon(request.param, tmp_path, store, golden) as copy:
        daemon = Daemon(copy.root, copy.driver)
        yield Served(copy, daemon)
        daemon.remove()
