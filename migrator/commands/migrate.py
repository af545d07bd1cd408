"""The migration, from top to bottom: read, plan, hash, rewrite, publish."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from migrator.commands.convert import convert_root
from migrator.conversion.planning import check_target
from migrator.legacy.daemon import refuse_daemon
from migrator.legacy.root import LegacyRoot, open_root
from migrator.migration.hashing import hash_layers, record_faults
from migrator.migration.plan import make_plan
from migrator.migration.rewriting import rewrite
from migrator.migration.space import Space
from migrator.progress import Progress
from migrator.report.layers import count_migrated
from migrator.report.summary import Summary, Timings
from migrator.state import lock, publication
from migrator.state.directory import Phase, StateDirectory
from migrator.state.staging import Staging
from migrator.state.traces import what_docker_left
from migrator.system.capabilities import check_readable
from migrator.system.host import Host, default_workers


def migrate(
    data_root: Path | str,
    driver: str = "auto",
    *,
    target_driver: str | None = None,
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Migrate the legacy data root of Docker <= 1.9 at `data_root` in place.

    Adds the content-addressed metadata of Docker >= 1.10 and leaves the old
    where and as it is. `driver` names the storage driver (`auto` finds it),
    `workers` the number of processes (default: the CPUs this process may use;
    0: none but this one). With a `target_driver` (overlay2) the layers are
    built for that one, too; then the data root may also be one of Docker >= 1.10.
    What could not be migrated is in the summary's `problems`. Raises a
    `MigratorError` when nothing was migrated.
    """
    progress = progress or Progress()
    timings = Timings()
    if target_driver is not None:
        check_target(target_driver)
    with timings.phase("read"):
        progress.phase("reading")
        root = open_root(Path(data_root), driver, storage_opts, work_dir)
        refuse_daemon(root.path, "stop the daemon first; `migrator checksums` may run beside it")
    summary = Summary(
        "migrate",
        str(root.path),
        root.driver_name,
        Host.here(root.path),
        default_workers() if workers is None else workers,
        timings,
    )
    with lock.exclusive(root.path):
        for state in StateDirectory.all(root.path):
            if state.is_unsettled:
                progress.note("an interrupted run had begun to change the data root: settled first")
                publication.settle(state)
        if target_driver is None:
            _migrate(root, summary, progress)
        else:
            convert_root(root, driver, target_driver, summary, progress)
    return summary


def _migrate(root: LegacyRoot, summary: Summary, progress: Progress) -> None:
    """Migrate what is new in a data root, whose lock is held, in place."""
    timings = summary.timings
    with timings.phase("plan"):
        progress.phase("planning")
        plan = make_plan(root)
    if plan.nothing_new:
        summary.nothing_new(plan.problems)
        return
    state = plan.state
    Space(plan).check()
    check_readable(plan.driver.layer_root(task.v1_id) for task in plan.tasks)
    with plan.driver.opened():
        # Not before it is known that layers can be read.
        state.create()
        state.phase = Phase.PREPARING
        state.inherit()
        with timings.phase("hash"):
            hashed = hash_layers(plan, state, summary.workers, progress)
    with timings.phase("rewrite"):
        progress.phase("rewriting")
        staging = Staging(state, root.driver_name)
        rewritten = rewrite(plan, hashed, staging)
        if staging.is_empty:
            state.remove()
            summary.nothing_new([*plan.problems, *rewritten.problems])
            return
        staging.seal(rewritten.problems, *what_docker_left(root.path))
    with timings.phase("publish"):
        progress.phase("publishing")
        publication.publish(state)
    count_migrated(summary, hashed, rewritten)
    summary.problems = [*plan.problems, *record_faults(hashed.layers), *rewritten.problems]
