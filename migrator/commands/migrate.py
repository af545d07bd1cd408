"""The migration, from top to bottom: read, plan, hash, rewrite, publish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from migrator.commands.convert import convert_root
from migrator.commands.run import Run
from migrator.conversion.planning import check_target
from migrator.errors import Problem
from migrator.legacy.daemon import refuse_daemon
from migrator.legacy.root import LegacyRoot, open_root
from migrator.migration.hashing import hash_layers, record_faults
from migrator.migration.plan import make_plan, why_nothing_new
from migrator.migration.rewriting import rewrite
from migrator.migration.space import Space
from migrator.progress import Progress
from migrator.report.summary import Counts, Outcome, Summary, layer_rows
from migrator.state import lock, publication
from migrator.state.directory import Phase, StateDirectory
from migrator.state.staging import Staging
from migrator.state.traces import what_docker_left
from migrator.system.capabilities import check_readable

_SETTLED = "an interrupted run had begun to change the data root: settled first"


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
    run = Run.of(workers, progress)
    if target_driver is not None:
        check_target(target_driver)
    with run.phase("read", "reading"):
        root = open_root(Path(data_root), driver, storage_opts, work_dir)
        refuse_daemon(root.path, "stop the daemon first; `migrator checksums` may run beside it")
    with lock.exclusive(root.path):
        for state in StateDirectory.all(root.path):
            if state.is_unsettled:
                run.progress.note(_SETTLED)
                publication.settle(state)
        if target_driver is None:
            outcome = _migrate(root, run)
        else:
            outcome = convert_root(root, driver, target_driver, run)
    return run.summary("migrate", root.path, outcome)


def _migrate(root: LegacyRoot, run: Run) -> Outcome:
    """Migrate what is new in a data root, whose lock is held, in place."""
    with run.phase("plan", "planning"):
        plan = make_plan(root)
    if plan.nothing_new:
        return _nothing_new(root, plan.problems)
    state = plan.state
    Space(plan).check()
    check_readable(plan.driver.layer_root(task.v1_id) for task in plan.tasks)
    with plan.driver.opened():
        # Not before it is known that layers can be read.
        state.create()
        state.phase = Phase.PREPARING
        state.inherit()
        with run.phase("hash"):
            hashed = hash_layers(plan, state, run.workers, run.progress)
    with run.phase("rewrite", "rewriting"):
        staging = Staging(state, root.driver_name)
        rewritten = rewrite(plan, hashed, staging)
        if staging.is_empty:
            state.remove()
            return _nothing_new(root, (*plan.problems, *rewritten.problems))
        staging.seal(rewritten.problems, *what_docker_left(root.path))
    with run.phase("publish", "publishing"):
        publication.publish(state)
    return Outcome(
        driver=root.driver_name,
        problems=(*plan.problems, *record_faults(hashed.layers), *rewritten.problems),
        counts=Counts.of_legacy(rewritten),
        layers=layer_rows(hashed, rewritten.chains),
    )


def _nothing_new(root: LegacyRoot, problems: Sequence[Problem]) -> Outcome:
    return Outcome(root.driver_name, problems, nothing_to_do=why_nothing_new(problems))
