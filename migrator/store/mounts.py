"""`image/<driver>/layerdb/mounts/`: the writable layers of containers (Docker 1.10 `layer/`)."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.drivers import Driver
from migrator.errors import FormatError, Subject
from migrator.store.findings import Finding, Findings
from migrator.store.layerdb import LayerStore
from migrator.store.layout import INIT_ID, MOUNT_ID, PARENT, Layout
from migrator.store.lines import DIGEST, DIRECTORY_NAME, line
from migrator.store.stage import Stage
from migrator.system.rootfiles import RootFiles

_DIRECTORIES = (MOUNT_ID, INIT_ID)


class Mounts:
    """Registers the writable layers of containers in a stage."""

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._layout = Layout(driver)

    def register(
        self, container_id: str, parent: str | None, mount_id: str, init_id: str | None
    ) -> bool:
        """Register the layer `mount_id` as the container's; whether it had none before.

        `parent` is the chainID of its image, None for an image without layers;
        `init_id` is its init layer, when the driver has one.
        """
        path = self._layout.mount(container_id)
        if self._staging.present(path):
            return False
        parts = {MOUNT_ID: mount_id, INIT_ID: init_id, PARENT: parent}
        for name, value in parts.items():
            if value is not None:
                self._staging.write(f"{path}/{name}", value.encode())
        return True


@dataclass(frozen=True, slots=True)
class Mount:
    """A container's writable layer: the chainID that it lies on, and the driver's IDs.

    `directories` are its mount-id and, if it has one, its init-id; None if one
    of them cannot be read or is of a layer that is not there.
    """

    parent: str | None
    directories: tuple[str, str | None] | None


@dataclass(frozen=True, slots=True)
class MountStore:
    """All mounts whose parent can be read, by container."""

    mounts: dict[str, Mount]
    findings: tuple[Finding, ...] = ()


def read_mounts(files: RootFiles, driver: Driver, layers: LayerStore) -> MountStore:
    """Read all mounts.

    A mount whose `parent` is unreadable is left out, after a finding. One may be left
    of a container that an old daemon removed, with its directories: Docker does not care.
    """
    findings = Findings()
    base = Layout(driver.name).mounts
    mounts: dict[str, Mount] = {}
    for name in files.names(base):
        path = f"{base}/{name}"
        with findings.noting(Subject.CONTAINER, name, path):
            names = files.names(path)
            if MOUNT_ID not in names:
                raise FormatError(f"has no {MOUNT_ID}")
            found: dict[str, str] = {}
            for part in names:
                with findings.noting(Subject.CONTAINER, name, f"{path}/{part}"):
                    if part in _DIRECTORIES:
                        found[part] = _directory(files, driver, name, f"{path}/{part}")
                    elif part == PARENT:
                        found[part] = _parent(files, layers, f"{path}/{part}")
                    else:
                        raise FormatError("does not belong here")
            if (PARENT in found) == (PARENT in names):
                whole = found.keys() >= {*_DIRECTORIES}.intersection(names)
                directories = (found[MOUNT_ID], found.get(INIT_ID)) if whole else None
                mounts[name] = Mount(found.get(PARENT), directories)
    return MountStore(mounts, tuple(findings))


def _directory(files: RootFiles, driver: Driver, container: str, path: str) -> str:
    cache_id = line(files, path, DIRECTORY_NAME, "name of a directory")
    if driver.holder is None:
        return cache_id
    holder = driver.holder.format(cache_id)
    is_there = files.status(holder) is not None
    if not is_there and files.status(f"containers/{container}") is None:
        return cache_id
    if not is_there or (driver.files and not files.is_directory(holder)):
        raise FormatError(f"names {cache_id}, but there is no directory {holder}")
    return cache_id


def _parent(files: RootFiles, layers: LayerStore, path: str) -> str:
    parent = line(files, path, DIGEST, "chainID")
    if parent not in layers.present:
        raise FormatError(f"names the layer {parent}, which is not there")
    return parent
