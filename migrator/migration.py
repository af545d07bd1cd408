"""The migration, from top to bottom: read, plan, hash, rewrite, publish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from migrator.errors import DaemonRunning, MigratorError, Problem, Subject
from migrator.hashing import Hashed, hash_layers
from migrator.host import Host, default_workers
from migrator.legacy.daemon import find_daemon
from migrator.legacy.root import open_root
from migrator.planning import Plan, make_plan
from migrator.progress import Progress
from migrator.report.summary import LayerRow, Summary, Timings
from migrator.rewriting import Rewritten, rewrite
from migrator.state import lock, publication
from migrator.state.directory import Phase, StateDirectory
from migrator.state.space import Space
from migrator.state.staging import Staging


def migrate(
    data_root: Path | str,
    driver: str = "auto",
    *,
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Migrate the legacy data root of Docker <= 1.9 at `data_root` in place.

    Adds the content-addressed metadata of Docker >= 1.10 and leaves the old
    where and as it is. `driver` names the storage driver (`auto` finds it),
    `workers` the number of processes (default: the CPUs this process may use;
    0: none but this one).
    What could not be migrated is in the summary's `problems`. Raises a
    `MigratorError` when nothing was migrated.
    """
    progress = progress or Progress()
    timings = Timings()
    with timings.phase("read"):
        progress.phase("reading")
        root = open_root(Path(data_root), driver, storage_opts, work_dir)
        refuse_daemon(root.path)
    state = StateDirectory(root.path)
    summary = Summary(
        "migrate",
        str(root.path),
        root.driver_name,
        Host.here(root.path),
        default_workers() if workers is None else workers,
        timings,
    )
    with lock.exclusive(root.path):
        if state.phase in (Phase.PUBLISHING, Phase.UNDOING):
            progress.note("an interrupted run had begun to change the data root: settled first")
            publication.settle(state)
        with timings.phase("plan"):
            progress.phase("planning")
            plan = make_plan(root)
        if plan.done_before:
            summary.nothing_to_do = "already migrated, nothing to do"
            summary.problems = list(plan.problems)
            return summary
        Space(plan).check()
        state.create()
        state.phase = Phase.PREPARING
        with timings.phase("hash"):
            hashed = hash_layers(plan, state, summary.workers, progress)
        with timings.phase("rewrite"):
            progress.phase("rewriting")
            staging = Staging(state, root.driver_name)
            rewritten = rewrite(plan, hashed, staging)
            staging.seal()
        with timings.phase("publish"):
            progress.phase("publishing")
            publication.publish(state)
    return _fill(summary, plan, hashed, rewritten)


def refuse_daemon(data_root: Path) -> None:
    """Raise DaemonRunning when a Docker daemon uses this data root."""
    evidence = find_daemon(data_root)
    if evidence is not None:
        raise DaemonRunning(
            f"a Docker daemon uses it: {evidence}",
            subject=str(data_root),
            hint="stop the daemon first; `migrator checksums` may run beside it",
        )


def _fill(summary: Summary, plan: Plan, hashed: Hashed, rewritten: Rewritten) -> Summary:
    summary.images = len(rewritten.images)
    summary.distinct_images = len(set(rewritten.images.values()))
    summary.layers_new = rewritten.layers
    summary.duplicates = rewritten.duplicates
    summary.tags = rewritten.tags
    summary.containers = rewritten.containers
    summary.layers = layer_rows(hashed, rewritten.chains)
    summary.problems = [*plan.problems, *record_faults(hashed), *rewritten.problems]
    return summary


def layer_rows(hashed: Hashed, chains: Mapping[str, str]) -> list[LayerRow]:
    """A report row for every hashed layer, by v1 ID."""
    return [
        LayerRow(
            v1_id=v1_id,
            diff_id=layer.digest.diff_id,
            chain_id=chains.get(v1_id),
            size=layer.digest.size,
            tar_bytes=layer.digest.tar_bytes,
            files=layer.digest.files,
            begun=hashed.begun[v1_id],
            seconds=layer.seconds,
            worker=hashed.workers[v1_id],
            method=str(layer.method),
            kept=layer.kept,
            fault=layer.fault,
        )
        for v1_id, layer in sorted(hashed.layers.items())
    ]


def record_faults(hashed: Hashed) -> list[Problem]:
    """News for the owner: layers whose tar-split record no longer fits their files."""
    return [
        Problem(
            Subject.LAYER,
            v1_id,
            f"its tar-split record was of no use ({layer.fault}); its diff was made anew,"
            " so its diffID may not be the one that registries know",
            fatal=False,
        )
        for v1_id, layer in sorted(hashed.layers.items())
        if layer.fault is not None
    ]


def failures(hashed: Hashed) -> list[Problem]:
    """A problem for every layer that could not be hashed."""

    def problem(v1_id: str, error: MigratorError) -> Problem:
        return Problem(Subject.LAYER, v1_id, str(error), error.hint)

    return [problem(v1_id, error) for v1_id, error in sorted(hashed.failed.items())]
