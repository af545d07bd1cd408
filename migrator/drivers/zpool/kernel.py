"""OpenZFS: the kernel mounts a dataset, its properties stay as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from migrator.drivers.zpool import commands
from migrator.drivers.zpool.aside import DIRECTORY, Aside
from migrator.drivers.zpool.datasets import Dataset, Datasets, dataset_at, places
from migrator.errors import DriverError
from migrator.system import namespace

_FILE_SYSTEMS = Path("/proc/filesystems")


def has_zfs() -> bool:
    """Whether the kernel knows zfs; a pool is zfs-fuse's otherwise."""
    return "\tzfs\n" in _FILE_SYSTEMS.read_text()


class KernelAside(Aside):
    """Mounts in a private mount namespace, so that a kill leaves none."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        with namespace.private_mounts():
            try:
                DIRECTORY.mkdir(0o700, parents=True, exist_ok=True)
                namespace.mount("none", DIRECTORY, "tmpfs", namespace.MS_NODEV, "mode=700")
                self.directory.mkdir(parents=True)
            except OSError as error:
                raise DriverError(
                    f"nothing can be mounted there ({error.strerror})", subject=str(DIRECTORY)
                ) from None
            self.datasets = Datasets.below(self.parent)
            yield

    def mount(self, dataset: Dataset, place: Path, keep: Collection[int]) -> None:
        mounted = places().get(dataset.name)
        if mounted is None:
            # mount.zfs(8) takes a dataset that `zfs mount` would mount with this option only.
            options = "ro" if dataset.mountpoint.value == "legacy" else "ro,zfsutil"
            commands.run(
                "mount", "-n", "-t", "zfs", "-o", options, dataset.name, str(place), keep=keep
            )
            return
        # Read where it is, but not taken away while it is: a daemon may unmount it any time.
        namespace.mount(mounted, place, "none", namespace.MS_BIND)
        if dataset_at(place) != dataset.name:
            namespace.unmount(place)
            raise DriverError("it was being unmounted", hint="run the same command again")

    def unmount(self, dataset: Dataset, place: Path, keep: Collection[int]) -> None:
        namespace.unmount(place)
