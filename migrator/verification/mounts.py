"""`image/<driver>/layerdb/mounts/`: writable layers (Docker 1.10 `layer/layer_store.go`)."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.drivers import Driver
from migrator.errors import FormatError, Subject
from migrator.system.rootfiles import RootFiles
from migrator.verification.findings import Findings
from migrator.verification.layers import DIGEST, DIRECTORY_NAME, LayerStore, line

_DIRECTORIES = ("mount-id", "init-id")


@dataclass(frozen=True, slots=True)
class Mount:
    """A container's writable layer: the chainID that it lies on, and the driver's IDs.

    `directories` are its mount-id and, if it has one, its init-id; None if one
    of them cannot be read or is of a layer that is not there.
    """

    parent: str | None
    directories: tuple[str, str | None] | None


def read_mounts(
    files: RootFiles, driver: Driver, store: LayerStore, findings: Findings
) -> dict[str, Mount]:
    """Check all mounts; returns them by container.

    A mount whose `parent` is unreadable is left out, after a finding. One may be left
    of a container that an old daemon removed, with its directories: Docker does not care.
    """
    base = f"image/{driver.name}/layerdb/mounts"
    mounts: dict[str, Mount] = {}
    for name in files.names(base):
        path = f"{base}/{name}"
        with findings.noting(Subject.CONTAINER, name, path):
            names = files.names(path)
            if "mount-id" not in names:
                raise FormatError("has no mount-id")
            found: dict[str, str] = {}
            for part in names:
                with findings.noting(Subject.CONTAINER, name, f"{path}/{part}"):
                    if part in _DIRECTORIES:
                        found[part] = _directory(files, driver, name, f"{path}/{part}")
                    elif part == "parent":
                        found[part] = _parent(files, store, f"{path}/{part}")
                    else:
                        raise FormatError("does not belong here")
            if ("parent" in found) == ("parent" in names):
                whole = found.keys() >= {*_DIRECTORIES}.intersection(names)
                directories = (found["mount-id"], found.get("init-id")) if whole else None
                mounts[name] = Mount(found.get("parent"), directories)
    return mounts


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


def _parent(files: RootFiles, store: LayerStore, path: str) -> str:
    parent = line(files, path, DIGEST, "chainID")
    if parent not in store.present:
        raise FormatError(f"names the layer {parent}, which is not there")
    return parent
