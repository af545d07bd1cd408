"""Hashing alone: digests left in `graph/` for a Docker 1.10 daemon to pick up.

The helper files are those of docker/v1.10-migrator: `.migration-size`,
`.migration-tardata` (the tar-split record) and, last and by rename,
`.migration-diffid`, which makes the others count.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from migrator.commands.run import Run
from migrator.layer.digest import HashedLayer
from migrator.legacy.root import LegacyRoot, open_root
from migrator.migration.hashing import hash_layers, record_faults
from migrator.migration.plan import make_plan, why_nothing_new
from migrator.migration.space import Space
from migrator.progress import Progress
from migrator.report.summary import Counts, Outcome, Summary, failures, layer_rows
from migrator.state import lock
from migrator.state.directory import StateDirectory
from migrator.system import disk
from migrator.system.capabilities import check_readable
from migrator.system.files import Inside, is_directory, list_directory

DIFF_ID = ".migration-diffid"
SIZE = ".migration-size"
TAR_DATA = ".migration-tardata"


def checksums(
    data_root: Path | str,
    driver: str = "auto",
    *,
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Hash all layers of a legacy data root and leave the helper files.

    A Docker daemon may be running. Files that are there already, from an
    earlier run or another tool, are written anew: nothing tells whether they
    still fit their layer, and layers of an unchanged store are not hashed
    again. Raises a `MigratorError` when nothing could be done.
    """
    run = Run.of(workers, progress)
    with run.phase("read"):
        root = open_root(Path(data_root), driver, storage_opts, work_dir)
    with lock.exclusive(root.path):
        outcome = _checksums(root, run)
    return run.summary("checksums", root.path, outcome)


def _checksums(root: LegacyRoot, run: Run) -> Outcome:
    """Hash what is new in a data root, whose lock is held."""
    with run.phase("plan", "planning"):
        plan = make_plan(root)
    # Tags and containers are not this command's business.
    concerned = [p for p in plan.problems if p.about in ("image", "layer")]
    if not plan.tasks:
        return Outcome(root.driver_name, concerned, nothing_to_do=why_nothing_new(concerned))
    state = plan.state
    Space(plan).check()
    check_readable(plan.driver.layer_root(task.v1_id) for task in plan.tasks)
    with plan.driver.opened():
        # Not before it is known that layers can be read.
        state.create()
        state.inherit()
        with run.phase("hash"):
            hashed = hash_layers(plan, state, run.workers, run.progress)
    with run.phase("write", "writing helper files"):
        inside = Inside(root.path)
        for v1_id, layer in hashed.layers.items():
            # A running daemon may have removed the image meanwhile.
            if inside.directory(f"graph/{v1_id}"):
                _leave(root.path / "graph" / v1_id, layer, hashed.records[v1_id])
    return Outcome(
        driver=root.driver_name,
        problems=(*concerned, *record_faults(hashed.layers), *failures(hashed)),
        counts=Counts(images=len(plan.tasks)),
        layers=layer_rows(hashed, {}),
    )


def undo(data_root: Path | str, driver: str = "auto", *, storage_opts: Iterable[str] = ()) -> int:
    """Remove all helper files, and what the hashing kept; returns the number of layers cleared."""
    root = open_root(Path(data_root), driver, storage_opts)
    cleared = 0
    with lock.exclusive(root.path):
        # Before anything goes: a state directory that is none of ours is an error.
        prepared = [x for x in StateDirectory.all(root.path) if not (x.target or x.has_published)]
        for name, is_dir in list_directory(root.path / "graph"):
            # What a link leads to is not this store's.
            if is_dir:
                cleared += _clear(root.path / "graph" / name)
        for state in prepared:
            state.remove()
    return cleared


def _clear(directory: Path) -> bool:
    """Remove the helper files of an image; whether there were any."""
    # The one that makes the others count goes first.
    names = (DIFF_ID, f"{DIFF_ID}.new", SIZE, f"{SIZE}.new", TAR_DATA)
    found = [path for name in names if _is_file(path := directory / name)]
    for path in found:
        disk.remove_file(path)
    return bool(found)


def _is_file(path: Path) -> bool:
    """Whether something stands there that can be removed as a file is."""
    return os.path.lexists(path) and not is_directory(path)


def _leave(directory: Path, layer: HashedLayer, record: Path) -> None:
    disk.remove_file(directory / DIFF_ID)
    disk.remove_file(directory / TAR_DATA)
    disk.link_or_copy(record, directory / TAR_DATA)
    disk.flush(directory / TAR_DATA)
    disk.write_atomically(directory / SIZE, b"%d" % layer.digest.size)
    disk.write_atomically(directory / DIFF_ID, layer.digest.diff_id.encode())
