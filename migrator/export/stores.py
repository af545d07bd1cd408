"""Which stores a data root holds: the legacy one, a content-addressed one, or both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from migrator import drivers
from migrator.drivers import Driver
from migrator.export.legacy import ImagesOnly, LegacySource
from migrator.export.source import Source
from migrator.export.stored import StoredSource
from migrator.legacy.root import LegacyRoot, open_root
from migrator.migration.plan import make_plan
from migrator.state.directory import StateDirectory
from migrator.store.choice import choose_store, stores_in
from migrator.store.layout import Layout
from migrator.system.files import inside, is_directory
from migrator.system.rootfiles import RootFiles


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
    stored = is_directory(inside(root.path, Layout(reader.name).layerdb))
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
    with RootFiles(root.path) as files:
        found = [name for name in stores_in(files) if name in drivers.KNOWN]
        files.refuse_denied()
        return choose_store(files, found, driver)
