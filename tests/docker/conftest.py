"""Daemons on migrated stores; one a store serves all tests that only look at it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docker.daemon import Daemon
from tests.docker.stores import DRIVERS, OF_EACH_DRIVER, Store, store_for_daemon

REPOSITORY = Path(__file__).parents[2]
PREPARED = REPOSITORY / ".venv" / "container-image"
"""What `prepare`, beside this file, has fetched."""

BASE = "migrator-base"
IMAGE = "docker-store-migrator"

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


def in_one_worker(names: Iterable[str]) -> list[Any]:
    """Parameters for `running`: all tests of a store in the same process."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]


@pytest.fixture(scope="session", params=in_one_worker(DRIVERS))
def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    store: Unpack,
    golden: Golden,
) -> Iterator[Served]:
    """The daemon that `served` gives out; it runs as long as there are tests of its store."""
    directory = tmp_path_factory.mktemp("served")
    with store_for_daemon(request.param, directory, store, golden) as copy:
        copy.migrate()
        with Daemon(copy.root, copy.driver) as daemon:
            yield Served(copy, daemon)
        daemon.remove()


@pytest.fixture
def served(running: Served) -> Iterator[Served]:
    """A migrated store with a daemon on it, to look at; the daemon has nothing to complain of."""
    yield running
    assert running.errors() == []


@pytest.fixture(params=OF_EACH_DRIVER)
def private(
    request: pytest.FixtureRequest, tmp_path: Path, store: Unpack, golden: Golden
) -> Iterator[Served]:
    """A store, not yet migrated, and a daemon for it, not yet running, to do anything with."""
    with store_for_daemon(request.param, tmp_path, store, golden) as copy:
        daemon = Daemon(copy.root, copy.driver)
        yield Served(copy, daemon)
        daemon.remove()


def clone(directory: Path) -> Path:
    """A copy of this repository below `directory`, as if freshly cloned."""
    left_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "*.egg-info")
    copy = directory / "clone"
    shutil.copytree(REPOSITORY, copy, ignore=left_out, symlinks=True)
    return copy


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that has migrator's image, built without a registry or a network."""
    directory = tmp_path_factory.mktemp("engine")
    context = clone(directory)
    shutil.copytree(PREPARED / "wheelhouse", context / "wheelhouse")
    root = directory / "root"
    root.mkdir()
    with Daemon(root, "overlay2") as daemon:
        daemon.docker("import", PREPARED / "base.tar", BASE)
        build = ["build", "--network", "none", "--build-arg", f"BASE={BASE}", "--tag", IMAGE]
        daemon.docker(*build, context)
        yield daemon
    daemon.remove()
    shutil.rmtree(root)
