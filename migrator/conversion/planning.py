"""What a migration to another storage driver would do: from which store, and what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrator import drivers
from migrator.conversion.names import Names
from migrator.conversion.space import expected_need, expected_way
from migrator.conversion.stored import Store, is_missing, read_store, to_build
from migrator.drivers import Driver
from migrator.errors import DataRootError, DriverError, Problem, Subject, UsageError
from migrator.layer.overlaydir import Way
from migrator.legacy.root import AUTO, LegacyRoot, open_root
from migrator.planning import Plan, is_migrated, make_plan
from migrator.report.model import Load
from migrator.state.directory import Phase, StateDirectory
from migrator.state.space import NOTHING, Need
from migrator.store import overlay2
from migrator.verification.files import RootFiles
from migrator.verification.findings import Findings
from migrator.verification.layers import read_layers

TARGETS = (overlay2.NAME,)


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """What is known before the first layer is read.

    `source` is a legacy store's plan, or a content-addressed store, or a
    sentence that says why there is nothing to do. The layers `to_build` from
    `driver` for `target` are v1 IDs, or chainIDs of a content-addressed store,
    with their sizes; their content has `size` bytes and comes there by
    `way`, for which they `need` about that. `containers` come on top of it,
    whose layers are copied.
    """

    root: LegacyRoot
    driver: str
    target: str
    source: Plan | Store | str
    problems: tuple[Problem, ...]
    images: int = 0
    to_build: tuple[tuple[str, int], ...] = ()
    size: int = 0
    tags: int = 0
    containers: int = 0
    way: Way = Way.COPY
    need: Need = NOTHING

    @property
    def layers(self) -> int:
        """How many layers are to be built."""
        return len(self.to_build)


def check_target(target: str) -> None:
    """Raise UsageError when no store can be made for the storage driver `target`."""
    if target not in TARGETS:
        hint = f"possible: {', '.join(TARGETS)}"
        raise UsageError(f"{target!r} is no storage driver to migrate to", hint=hint)


def plan_conversion(
    data_root: Path | str,
    driver: str = AUTO,
    target: str = overlay2.NAME,
    *,
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
) -> ConversionPlan:
    """Look at what `migrate` would do with this `target_driver`, without changing anything.

    Raises a `MigratorError` when there is no store that could be migrated.
    """
    check_target(target)
    return make_conversion_plan(
        open_root(Path(data_root), driver, storage_opts, work_dir), driver, target
    )


def make_conversion_plan(root: LegacyRoot, chosen: str, target: str) -> ConversionPlan:
    """Read the metadata of whichever store there is; `chosen` is its driver as the user named it.

    Raises DataRootError when there is no store, DriverError when it is unclear
    which is meant.
    """
    if StateDirectory(root.path, target).phase is Phase.PUBLISHED:
        reason = f"already migrated to {target}, nothing to do"
        return ConversionPlan(root, root.driver_name, target, reason, ())
    if not is_migrated(root) and root.driver_name != target:
        return _of_legacy(root, target)
    driver = _stored_driver(root, chosen, target)
    if driver is None:
        reason = f"the store is one of {target} already, nothing to do"
        return ConversionPlan(root, target, target, reason, ())
    return _of_stored(root, driver, target)


def names_in(files: RootFiles, root: LegacyRoot, target: str) -> Names:
    """The names in the target driver's directory."""
    return Names(files, read_layers(files, drivers.get(target, root.path), Findings()))


def _of_legacy(root: LegacyRoot, target: str) -> ConversionPlan:
    plan = make_plan(root, target)
    problems = list(plan.problems)
    with RootFiles(root.path) as files:
        if files.names(f"image/{root.driver_name}/imagedb/content/sha256"):
            reason = "has images that Docker >= 1.10 put there, which are not carried over"
            hint = "`migrator migrate` in place first, then"
            hint += f" `migrator migrate --target-driver {target}`"
            problems.append(Problem(Subject.ROOT, f"image/{root.driver_name}", reason, hint))
    layers = [
        (task.v1_id, task.size, Load.estimated(task.size, task.record_size).files)
        for task in plan.tasks
    ]
    return ConversionPlan(
        root=root,
        driver=root.driver_name,
        target=target,
        source=plan,
        problems=tuple(problems),
        images=len(plan.images),
        to_build=tuple((name, size) for name, size, _ in layers),
        size=plan.size,
        tags=len(plan.references),
        containers=len(plan.containers),
        way=_way(plan.driver, layers),
        need=expected_need(plan.driver, layers, root.path),
    )


def _of_stored(root: LegacyRoot, driver: Driver, target: str) -> ConversionPlan:
    with RootFiles(root.path) as files:
        store = read_store(files, driver)
        if not (store.layers or store.images) and store.problems:
            raise DataRootError(
                f"nothing of it can be migrated; {store.problems[0]}",
                subject=str(root.path / "image" / driver.name),
            )
        to_come = to_build(store, names_in(files, root, target))
        if not (to_come.images or to_come.containers or is_missing(files, store)):
            reason = f"{target} has all of {driver.name} already, nothing to do"
            return ConversionPlan(root, driver.name, target, reason, store.problems)
    layers = [
        (each.origins[0].layer, each.size, Load.estimated(each.size, each.record_size).files)
        for each in to_come.images
    ]
    return ConversionPlan(
        root=root,
        driver=driver.name,
        target=target,
        source=store,
        problems=store.problems,
        images=len(store.images),
        to_build=tuple((each.chain, each.size) for each in to_come.images),
        size=sum(size for _, size, _ in layers),
        tags=len(store.references),
        containers=len(to_come.containers),
        way=_way(driver, layers),
        need=expected_need(driver, layers, root.path),
    )


def _way(driver: Driver, layers: Sequence[tuple[str, int, int]]) -> Way:
    return expected_way(driver, layers[0][0], driver.data_root) if layers else Way.COPY


def _stored_driver(root: LegacyRoot, chosen: str, target: str) -> Driver | None:
    """The driver of the content-addressed store to convert; None if that is `target`'s own."""
    with RootFiles(root.path) as files:
        found = [
            name
            for name in files.names("image")
            if name in drivers.KNOWN and files.is_directory(f"image/{name}/layerdb")
        ]
    if not found:
        raise DataRootError("no content-addressed store in image/", subject=str(root.path))
    if chosen == AUTO:
        others = [name for name in found if name != target]
        if len(others) > 1:
            raise DriverError(
                f"the stores of several drivers are in image/: {', '.join(others)}",
                subject=str(root.path),
                hint="say which one to migrate with -s, --storage-driver",
            )
        chosen = others[0] if others else target
    elif chosen not in found:
        raise DriverError("there is no store of this driver in image/", subject=chosen)
    if chosen == target:
        return None
    return drivers.get(chosen, root.path, root.storage_opts, root.work_dir)
