"""Which stores a data root holds: the legacy one, a content-addressed one, or both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from migrator import drivers
from migrator.drivers import Driver
from migrator.errors import DataRootError, DriverError
from migrator.export.legacy import ImagesOnly, LegacySource
from migrator.export.source import Source
from migrator.export.stored import StoredSource
from migrator.legacy.root import AUTO, LegacyRoot, open_root
from migrator.migration.plan import make_plan
from migrator.state.directory import StateDirectory
from migrator.system.files import inside, is_directory, list_directory


def open_stores(
    data_root: Path, driver: str, storage_opts: Iterable[str], work_dir: Path | None
) -> tuple[Driver, Sequence[Source]]:
    """The storage driver and the stores to export from, the one that wins first.

    A content-addressed store stands for the legacy one that it was made from;
    where only a part was, or Docker >= 1.10 began one of its own, both count.
    `driver` names the driver, `auto` finds it. Raises DataRootError or one of
    its kind when there is nothing to read.
    """
    root = open_root(data_root, driver, storage_opts, work_dir)
    if not root.has_store:
        reader = root.driver_called(_of_store(root, driver))
        return reader, [StoredSource(reader)]
    reader = root.driver
    stored = is_directory(inside(root.path, f"image/{reader.name}/layerdb"))
    if stored and not os.path.lexists(root.path / f"repositories-{reader.name}"):
        return reader, [StoredSource(reader)]
    plan = make_plan(ImagesOnly.of(root))
    if stored and plan.nothing_new:
        return reader, [StoredSource(reader)]
    sources: list[Source] = [LegacySource(plan)]
    # What a killed migration has half published, or half taken back, is none to rely on.
    unsettled = any(each.is_unsettled and not each.target for each in StateDirectory.all(root.path))
    if stored and not unsettled:
        sources.insert(0, StoredSource(reader))
    return reader, sources


def _of_store(root: LegacyRoot, driver: str) -> str:
    """The driver of a data root without a legacy store."""
    image = root.path / "image"
    found = [
        name
        for name, is_dir in list_directory(image)
        if is_dir and name in drivers.KNOWN and is_directory(image / name / "layerdb")
    ]
    if driver != AUTO:
        if driver not in found:
            raise DriverError("there is no store of this driver in image/", subject=driver)
        return driver
    if not found:
        raise DataRootError("no content-addressed store in image/", subject=str(root.path))
    if len(found) > 1:
        raise DriverError(
            f"the stores of several drivers are in image/: {', '.join(found)}",
            hint="say which one with -s, --storage-driver",
        )
    return found[0]
