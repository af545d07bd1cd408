"""Migrating to another storage driver: its layers are built, the metadata are made for it.

From a legacy store as well as from one that Docker >= 1.10 made, or an earlier
migration. The source stays as it is, but for the `Driver` of its containers.
"""

from __future__ import annotations

from migrator.commands.run import Run
from migrator.conversion.building import Layers
from migrator.conversion.carrying import carry
from migrator.conversion.legacy import BuiltDirectories, legacy_layers, without_unbuilt
from migrator.conversion.planning import ConversionPlan, make_conversion_plan, names_in
from migrator.conversion.stored import to_build, without
from migrator.conversion.trees import convert, stage_trees
from migrator.errors import Problem
from migrator.legacy.root import LegacyRoot
from migrator.migration.hashing import Hashed, hash_layers, record_faults
from migrator.migration.plan import why_nothing_new
from migrator.migration.rewriting import rewrite
from migrator.migration.space import NOTHING, Space, check_space
from migrator.report.conversion import Conversion
from migrator.report.summary import Counts, LayerRow, Outcome, layer_rows
from migrator.state import publication
from migrator.state.directory import Phase
from migrator.state.staging import Staging
from migrator.state.traces import what_docker_left
from migrator.system import capabilities
from migrator.system.rootfiles import RootFiles


def convert_root(root: LegacyRoot, chosen: str, target: str, run: Run) -> Outcome:
    """Migrate a data root, whose lock is held, to the driver `target`.

    `chosen` is the source's storage driver as the user named it. Raises a
    MigratorError when nothing was migrated.
    """
    with run.phase("plan", "planning"):
        plan = make_conversion_plan(root, chosen, target)
    if plan.nothing_to_do is not None:
        return Outcome(plan.driver, plan.problems, nothing_to_do=plan.nothing_to_do)
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
        outcome = _prepare(plan, run)
    if outcome.nothing_to_do is not None:
        state.remove()
        return outcome
    with run.phase("publish", "publishing"):
        publication.publish(state)
    return outcome


def _prepare(plan: ConversionPlan, run: Run) -> Outcome:
    """Build and stage everything."""
    state, target, stored = plan.state, plan.target, plan.stored
    hashed = Hashed()
    if plan.legacy is not None and plan.legacy.tasks:
        with run.phase("hash"):
            hashed = hash_layers(plan.legacy, state, run.workers, run.progress)
    staging = Staging(state, target)
    counts, rows, directories = Counts(), list[LayerRow](), frozenset[str]()
    problems: dict[Problem, None] = dict.fromkeys(plan.problems)
    with RootFiles(plan.root.path) as files:
        names = names_in(files, plan.root, target)
        with run.phase("convert", "converting"):
            layers = to_build(stored, names) if stored else Layers(plan.source)
            legacy = None
            if plan.legacy is not None:
                legacy = legacy_layers(plan.legacy, hashed, staging, names, stored)
                layers = layers.joined(legacy.layers)
            converted = convert(layers, names, state, run.workers, run.progress)
        with run.phase("rewrite", "rewriting"):
            if stored is not None:
                stored = without(stored, converted.failed)
                carried = carry(files, stored, converted, staging)
                directories |= carried.directories
                problems |= dict.fromkeys((*stored.problems, *carried.problems))
                counts += Counts.of_stored(carried)
            if plan.legacy is not None and legacy is not None:
                hashed = without_unbuilt(hashed, legacy, converted)
                built = BuiltDirectories(converted, legacy.chains, names)
                rewritten = rewrite(plan.legacy, hashed, staging, built)
                directories |= rewritten.directories
                problems |= dict.fromkeys((*record_faults(hashed.layers), *rewritten.problems))
                counts += Counts.of_legacy(rewritten)
                rows = layer_rows(hashed, rewritten.chains)
            stage_trees(converted, directories, names, state, staging)
            if staging.is_empty:
                why = why_nothing_new(problems, target)
                return Outcome(plan.driver, tuple(problems), counts, rows, why)
            staging.seal(tuple(problems), *what_docker_left(plan.root.path))
    seconds = run.timings.seconds["convert"]
    conversion = Conversion.of(target, converted.trees.values(), seconds)
    return Outcome(plan.driver, tuple(problems), counts, rows, None, conversion)
