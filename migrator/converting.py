"""Migrating to another storage driver: its layers are built, the metadata are made for it.

From a legacy store as well as from one that Docker >= 1.10 made, or an earlier
migration. The source stays as it is, but for the `Driver` of its containers.
"""

from __future__ import annotations

from migrator import capabilities
from migrator.conversion.carrying import Carried, carry
from migrator.conversion.legacy import BuiltDirectories, fail, legacy_layers
from migrator.conversion.planning import ConversionPlan, make_conversion_plan, names_in
from migrator.conversion.stored import Store, to_build, without
from migrator.conversion.trees import Converted, convert, stage_trees
from migrator.hashing import hash_layers
from migrator.legacy.root import LegacyRoot
from migrator.planning import Plan
from migrator.progress import Progress
from migrator.report.conversion import Conversion
from migrator.report.layers import fill
from migrator.report.summary import Summary
from migrator.rewriting import rewrite
from migrator.state import publication
from migrator.state.directory import Phase, StateDirectory
from migrator.state.space import NOTHING, Space, check_space
from migrator.state.staging import Staging
from migrator.verification.files import RootFiles


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
    if isinstance(plan.source, str):
        summary.nothing_to_do = plan.source
        summary.problems = list(plan.problems)
        return
    capabilities.require(capabilities.TO_BUILD, f"migrating to {target}", root.path)
    state = StateDirectory(root.path, target)
    # What an earlier run has built takes up its place already.
    need = NOTHING if state.built.exists() else plan.need
    if isinstance(plan.source, Plan):
        need += Space(plan.source).need
    check_space(root.path, need)
    with plan.source.driver.opened():
        # Not before it is known that layers can be read.
        state.create()
        state.inherit(StateDirectory(root.path))
        state.phase = Phase.PREPARING
        run = _Run(plan, state, summary, progress)
        if isinstance(plan.source, Plan):
            converted = run.from_legacy(plan.source)
        else:
            converted = run.from_stored(plan.source)
    with timings.phase("publish"):
        progress.phase("publishing")
        publication.publish(state)
    summary.conversion = Conversion.of(target, converted.trees.values(), timings.seconds["convert"])


class _Run:
    """Builds and stages everything, from either kind of store."""

    def __init__(
        self, plan: ConversionPlan, state: StateDirectory, summary: Summary, progress: Progress
    ) -> None:
        self._plan = plan
        self._state = state
        self._summary = summary
        self._progress = progress

    def from_legacy(self, plan: Plan) -> Converted:
        """From a store of Docker <= 1.9."""
        timings, progress, workers = self._summary.timings, self._progress, self._summary.workers
        with timings.phase("hash"):
            hashed = hash_layers(plan, self._state, workers, progress)
        staging = Staging(self._state, plan.target)
        with RootFiles(plan.root.path) as files:
            names = names_in(files, plan.root, plan.target)
            with timings.phase("convert"):
                progress.phase("converting")
                legacy = legacy_layers(plan, hashed, staging, names)
                converted = convert(legacy.layers, names, self._state, workers, progress)
                fail(hashed, legacy, converted)
        with timings.phase("rewrite"):
            progress.phase("rewriting")
            directories = BuiltDirectories(converted, legacy.chains, names)
            rewritten = rewrite(plan, hashed, staging, directories)
            stage_trees(converted, rewritten.directories, names, self._state, staging)
            staging.seal()
        fill(self._summary, plan, hashed, rewritten)
        known = set(plan.problems)
        self._summary.problems += [each for each in self._plan.problems if each not in known]
        return converted

    def from_stored(self, store: Store) -> Converted:
        """From a content-addressed store."""
        timings, progress, workers = self._summary.timings, self._progress, self._summary.workers
        root, target = self._plan.root, self._plan.target
        with RootFiles(root.path) as files:
            names = names_in(files, root, target)
            with timings.phase("convert"):
                progress.phase("converting")
                layers = to_build(store, names)
                converted = convert(layers, names, self._state, workers, progress)
                store = without(store, converted.failed)
            with timings.phase("rewrite"):
                progress.phase("rewriting")
                staging = Staging(self._state, target)
                carried = carry(files, store, converted, staging)
                stage_trees(converted, carried.directories, names, self._state, staging)
                staging.seal()
        self._fill(store, carried)
        return converted

    def _fill(self, store: Store, carried: Carried) -> None:
        summary = self._summary
        summary.images = summary.distinct_images = carried.images
        summary.layers_new = carried.layers
        summary.tags = carried.tags
        summary.containers = carried.containers
        summary.problems = [*store.problems, *carried.problems]
