"""Migrating to another storage driver: its layers are built, the metadata are made for it.

From a legacy store as well as from one that Docker >= 1.10 made, or an earlier
migration. The source stays as it is, but for the `Driver` of its containers.
"""

from __future__ import annotations

from migrator.conversion.building import Layers
from migrator.conversion.carrying import carry
from migrator.conversion.legacy import BuiltDirectories, legacy_layers, without_unbuilt
from migrator.conversion.planning import ConversionPlan, make_conversion_plan, names_in
from migrator.conversion.stored import to_build, without
from migrator.conversion.trees import Converted, convert, stage_trees
from migrator.errors import Problem
from migrator.legacy.root import LegacyRoot
from migrator.migration.hashing import Hashed, hash_layers, record_faults
from migrator.migration.rewriting import rewrite
from migrator.migration.space import NOTHING, Space, check_space
from migrator.progress import Progress
from migrator.report.conversion import Conversion
from migrator.report.layers import count_carried, count_migrated
from migrator.report.summary import Summary
from migrator.state import publication
from migrator.state.directory import Phase
from migrator.state.staging import Staging
from migrator.state.traces import what_docker_left
from migrator.system import capabilities
from migrator.system.rootfiles import RootFiles


def convert_root(
    root: LegacyRoot, chosen: str, target: str, summary: Summary, progress: Progress
) -> None:
    """Migrate a data root, whose lock is held, to the driver `target`; fills in `summary`.

    `chosen` is the source's storage driver as the user named it. Raises a
    MigratorError when nothing was migrated.
    """
    timings = summary.timings
    with timings.phase("plan"):
        progress.phase("planning")
        plan = make_conversion_plan(root, chosen, target)
    summary.driver = plan.driver
    if plan.nothing_to_do is not None:
        summary.nothing_to_do = plan.nothing_to_do
        summary.problems = list(plan.problems)
        return
    capabilities.require(capabilities.TO_BUILD, f"migrating to {target}", root.path)
    state = plan.state
    # What an earlier run has built takes up its place already.
    need = NOTHING if state.built.exists() else plan.need
    if plan.legacy is not None:
        need += Space(plan.legacy).need
    check_space(root.path, need)
    with plan.source.opened():
        # Not before it is known that layers can be read.
        state.create()
        state.phase = Phase.PREPARING
        state.inherit()
        converted = _prepare(plan, summary, progress)
    if converted is None:
        state.remove()
        return
    with timings.phase("publish"):
        progress.phase("publishing")
        publication.publish(state)
    summary.conversion = Conversion.of(target, converted.trees.values(), timings.seconds["convert"])


def _prepare(plan: ConversionPlan, summary: Summary, progress: Progress) -> Converted | None:
    """Build and stage everything; None if nothing came of it."""
    timings, workers, state, target = summary.timings, summary.workers, plan.state, plan.target
    hashed = Hashed()
    if plan.legacy is not None and plan.legacy.tasks:
        with timings.phase("hash"):
            hashed = hash_layers(plan.legacy, state, workers, progress)
    staging = Staging(state, target)
    stored = plan.stored
    with RootFiles(plan.root.path) as files:
        names = names_in(files, plan.root, target)
        with timings.phase("convert"):
            progress.phase("converting")
            layers = to_build(stored, names) if stored else Layers(plan.source)
            legacy = None
            if plan.legacy is not None:
                legacy = legacy_layers(plan.legacy, hashed, staging, names, stored)
                layers = layers.joined(legacy.layers)
            converted = convert(layers, names, state, workers, progress)
        with timings.phase("rewrite"):
            progress.phase("rewriting")
            directories: set[str] = set()
            problems: dict[Problem, None] = dict.fromkeys(plan.problems)
            if stored is not None:
                stored = without(stored, converted.failed)
                carried = carry(files, stored, converted, staging)
                directories |= carried.directories
                problems |= dict.fromkeys((*stored.problems, *carried.problems))
                count_carried(summary, carried)
            if plan.legacy is not None and legacy is not None:
                hashed = without_unbuilt(hashed, legacy, converted)
                built = BuiltDirectories(converted, legacy.chains, names)
                rewritten = rewrite(plan.legacy, hashed, staging, built)
                directories |= rewritten.directories
                problems |= dict.fromkeys((*record_faults(hashed.layers), *rewritten.problems))
                count_migrated(summary, hashed, rewritten)
            summary.problems = list(problems)
            stage_trees(converted, directories, names, state, staging)
            if staging.is_empty:
                summary.nothing_new(summary.problems, target)
                return None
            staging.seal(summary.problems, *what_docker_left(plan.root.path))
    return converted
