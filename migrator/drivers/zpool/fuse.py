"""zfs-fuse: its daemon mounts a dataset, and only where the dataset's properties say.

So `readonly` and `mountpoint` are changed while a dataset is read. What they
were is kept in a property of the dataset itself, set before and removed after
the others: whatever ends a run, the next one puts right what it left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from migrator.drivers.zpool import commands
from migrator.drivers.zpool.aside import DIRECTORY, Aside, lock
from migrator.drivers.zpool.datasets import RESTORE, Dataset, Datasets, dataset_at, places
from migrator.errors import DriverError, LayerError

_SOURCE = r"\((local|received|inherited|default)\)"
_NOTE = re.compile(rf"(readonly)=(on|off) {_SOURCE}, (mountpoint)=(.+) {_SOURCE}")


class FuseAside(Aside):
    """Mounts by changed properties, one run at a time."""

    # The run's lock. Commands inherit it: one that outlives a killed run still changes things.
    _lock: int

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        try:
            DIRECTORY.mkdir(0o700, parents=True, exist_ok=True)
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise DriverError(
                f"nothing can be mounted there ({error.strerror})", subject=str(DIRECTORY)
            ) from None
        try:
            # A command of a killed run may still be running.
            lock(self._lock, fcntl.LOCK_EX, self.parent, patience=10)
            self._settle()
            self.datasets = Datasets.below(self.parent)
            try:
                yield
            finally:
                self._settle()
        finally:
            os.close(self._lock)

    def place(self, layer: str) -> Path:
        return self.datasets.places.get(layer) or super().place(layer)

    @contextlib.contextmanager
    def mounted(self, layer: str) -> Iterator[None]:
        if layer not in self.datasets.places:
            with super().mounted(layer):
                yield
            return
        # Nothing keeps it there, and what is read of the bare directory would be nonsense.
        self._check_mounted(layer)
        yield
        self._check_mounted(layer)

    def mount(self, dataset: Dataset, place: Path, keep: Collection[int]) -> None:
        if dataset.mounted:
            raise DriverError("it is mounted, but hidden by another mount", hint="unmount that")
        changes = (f"{RESTORE}={_note(dataset)}", "readonly=on", f"mountpoint={place}")
        try:
            with self._alone(keep) as kept:
                for change in changes:
                    commands.zfs("set", change, dataset.name, keep=kept)
                if not os.path.ismount(place):
                    # Its property canmount keeps it from being mounted by itself.
                    commands.zfs("mount", dataset.name, keep=kept)
            if not os.path.ismount(place):
                raise DriverError(
                    "zfs-fuse mounted it where this process does not see it",
                    hint="run migrator where its daemon runs, not in a container",
                )
        except DriverError:
            with contextlib.suppress(DriverError):
                self.unmount(dataset, place, keep)
            raise

    def unmount(self, dataset: Dataset, place: Path, keep: Collection[int]) -> None:
        with self._alone(keep) as kept:
            _restore(dataset.name, _note(dataset), kept)

    @contextlib.contextmanager
    def _alone(self, keep: Collection[int]) -> Iterator[tuple[int, ...]]:
        """Keep others from mounting meanwhile; gives the descriptors for commands to inherit.

        The daemon's threads write what they mount into one pipe, piece by
        piece: two at a time, and it waits for ever for what a wrong length says.
        """
        fd = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock(fd, fcntl.LOCK_EX, self.parent)
            yield *keep, self._lock, fd
        finally:
            os.close(fd)

    def _check_mounted(self, layer: str) -> None:
        name = self.datasets.children[layer].name
        if dataset_at(self.place(layer)) != name:
            hint = "run the same command again"
            raise LayerError("it was unmounted meanwhile", subject=name, hint=hint)

    def _settle(self) -> None:
        """Put back what any run has changed, and remove the directories."""
        for layer, dataset in Datasets.below(self.parent).children.items():
            if dataset.restore is not None:
                with self.layer_opened(layer) as fd:
                    # Likewise one of a killed worker.
                    lock(fd, fcntl.LOCK_EX, dataset.name)
                    with self._alone((fd,)) as kept:
                        _restore(dataset.name, dataset.restore, kept)
        for directory in self.directory.iterdir():
            with contextlib.suppress(OSError):
                (directory / "root").rmdir()
            with contextlib.suppress(OSError):
                directory.rmdir()


def _note(dataset: Dataset) -> str:
    """What to put back, as the text of the property."""
    notes = []
    for key, was in (("readonly", dataset.readonly), ("mountpoint", dataset.mountpoint)):
        # `inherited from` whom does not matter.
        notes.append(f"{key}={was.value} ({was.source.partition(' ')[0]})")
    return ", ".join(notes)


def _restore(name: str, note: str, keep: Collection[int]) -> None:
    """Put back what `note` says; raises DriverError with the dataset as its subject."""
    was = _NOTE.fullmatch(note)
    if was is None:
        raise DriverError(
            f"its property {RESTORE} cannot be understood",
            subject=name,
            hint=f"see to its mountpoint and readonly, then: zfs inherit {RESTORE} {name}",
        )
    try:
        # Mounted, it would be mounted again at an inherited place.
        if name in places():
            commands.zfs("unmount", name, keep=keep)
        for key, value, source in (was.group(4, 5, 6), was.group(1, 2, 3)):
            if source == "local":
                commands.zfs("set", f"{key}={value}", name, keep=keep)
            elif source == "received":
                commands.zfs("inherit", "-S", key, name, keep=keep)
            else:
                commands.zfs("inherit", key, name, keep=keep)
        commands.zfs("inherit", RESTORE, name, keep=keep)
    except DriverError as error:
        hint = error.hint or "run the same command again"
        raise DriverError(error.message, subject=name, hint=hint) from None
