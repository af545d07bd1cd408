"""`image/<driver>/layerdb/mounts/`: writable layers (Docker 1.10 `layer/layer_store.go`)."""

from __future__ import annotations

from migrator.drivers import Driver
from migrator.errors import FormatError, Subject
from migrator.verification.files import RootFiles
from migrator.verification.findings import Findings
from migrator.verification.layers import DIGEST, DIRECTORY_NAME, LayerStore, line

_DIRECTORIES = ("mount-id", "init-id")


def read_mounts(
    files: RootFiles, driver: Driver, store: LayerStore, findings: Findings
) -> dict[str, str | None]:
    """Check all mounts; returns the chainID that each container's writable layer lies on.

    A mount whose `parent` is unreadable is left out, after a finding.
    """
    base = f"image/{driver.name}/layerdb/mounts"
    mounts: dict[str, str | None] = {}
    for name in files.names(base):
        path = f"{base}/{name}"
        with findings.noting(Subject.CONTAINER, name, path):
            names = files.names(path)
            if "mount-id" not in names:
                raise FormatError("has no mount-id")
            if "parent" not in names:
                mounts[name] = None
            for part in names:
                with findings.noting(Subject.CONTAINER, name, f"{path}/{part}"):
                    if part in _DIRECTORIES:
                        _check_directory(files, driver, f"{path}/{part}")
                    elif part == "parent":
                        mounts[name] = _parent(files, store, f"{path}/{part}")
                    else:
                        raise FormatError("does not belong here")
    return mounts


def _check_directory(files: RootFiles, driver: Driver, path: str) -> None:
    cache_id = line(files, path, DIRECTORY_NAME, "name of a directory")
    if driver.holder is None:
        return
    holder = driver.holder.format(cache_id)
    if files.status(holder) is None or (driver.files and not files.is_directory(holder)):
        raise FormatError(f"names {cache_id}, but there is no directory {holder}")


def _parent(files: RootFiles, store: LayerStore, path: str) -> str:
    parent = line(files, path, DIGEST, "chainID")
    if parent not in store.present:
        raise FormatError(f"names the layer {parent}, which is not there")
    return parent
