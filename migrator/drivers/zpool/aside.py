"""Datasets mounted read-only for the time of reading, each once for all who read it.

Several processes read; who needs a layer holds a shared lock (flock) on a
directory that stands for it, mounts it if nobody has, and unmounts it when
nobody else is left. The kernel takes back the lock of a process that is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path

from migrator.drivers.zpool.commands import TIMEOUT
from migrator.drivers.zpool.datasets import Dataset, Datasets
from migrator.errors import DriverError, LayerError

DIRECTORY = Path("/run/docker-store-migrator")
"""What is mounted for reading is mounted below it; only root may enter."""

_PAUSE = 0.01


def place_aside(parent: str, layer: str) -> Path:
    """Where the child of the dataset `parent` that is a layer is mounted for reading."""
    return DIRECTORY / parent / layer / "root"


class Aside(ABC):
    """The datasets below `parent`, mounted in a directory of ours."""

    datasets: Datasets
    """Those that were there when it was opened."""

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self.directory = DIRECTORY / parent

    @abstractmethod
    def opened(self) -> contextlib.AbstractContextManager[None]:
        """Find the datasets, and be able to mount them during a `with`; raises DriverError."""

    @abstractmethod
    def mount(self, dataset: Dataset, place: Path, keep: Collection[int]) -> None:
        """Mount a dataset at a directory; commands inherit `keep`.

        Raises DriverError and OSError.
        """

    @abstractmethod
    def unmount(self, dataset: Dataset, place: Path, keep: Collection[int]) -> None:
        """The reverse, likewise."""

    def place(self, layer: str) -> Path:
        """Where a layer's dataset is while it is read."""
        return place_aside(self.parent, layer)

    @contextlib.contextmanager
    def mounted(self, layer: str) -> Iterator[None]:
        """Have a layer's dataset in its place during a `with`; raises LayerError."""
        dataset = self.datasets.children[layer]
        with contextlib.ExitStack() as stack:
            try:
                fd = stack.enter_context(self.layer_opened(layer))
                self._mount_once(dataset, self.place(layer), fd)
            except OSError as error:
                reason = f"cannot be mounted ({error.strerror})"
                raise LayerError(reason, subject=dataset.name) from None
            except DriverError as error:
                raise LayerError(error.message, subject=dataset.name, hint=error.hint) from None
            try:
                yield
            finally:
                # What cannot be unmounted now is, or is complained about, when all is done.
                with contextlib.suppress(DriverError, OSError):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.unmount(dataset, self.place(layer), (fd,))

    @contextlib.contextmanager
    def layer_opened(self, layer: str) -> Iterator[int]:
        """A descriptor that stands for a layer, to lock it with."""
        place = place_aside(self.parent, layer)
        place.parent.mkdir(exist_ok=True)
        fd = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not os.path.ismount(place):
                place.mkdir(exist_ok=True)
            yield fd
        finally:
            os.close(fd)

    def _mount_once(self, dataset: Dataset, place: Path, fd: int) -> None:
        while True:
            lock(fd, fcntl.LOCK_SH, dataset.name)
            if os.path.ismount(place):
                return
            # Not one step with the above: others may have been quicker, either way.
            lock(fd, fcntl.LOCK_EX, dataset.name)
            if not os.path.ismount(place):
                self.mount(dataset, place, (fd,))


def lock(fd: int, operation: int, dataset: str, patience: float = TIMEOUT) -> None:
    """flock(2) for a dataset; raises DriverError after `patience` seconds, a command's."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DriverError(
                    "another migrator is reading it",
                    subject=dataset,
                    hint="wait until it has ended, or stop it",
                ) from None
            time.sleep(_PAUSE)
        else:
            return
