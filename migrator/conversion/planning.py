"""What a migration to another storage driver would do: from which store, and what is in it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from migrator import drivers
from migrator.conversion.names import Names
from migrator.conversion.space import expected_need, expected_transfer
from migrator.conversion.stored import Transferable, read_transferable, to_build
from migrator.drivers import AUTO, Driver
from migrator.errors import DataRootError, FormatError, Problem, UsageError
from migrator.layer.load import Load
from migrator.legacy.root import LegacyRoot
from migrator.migration.plan import Plan, left_out_before, make_plan, why_nothing_new
from migrator.migration.space import NOTHING, Need
from migrator.state.directory import Phase, StateDirectory
from migrator.store import overlay2
from migrator.store.choice import choose_store, stores_in
from migrator.store.imagedb import image_ids
from migrator.store.layerdb import read_layers
from migrator.store.layout import TOP
from migrator.store.markers import is_migrated
from migrator.store.references import read_names
from migrator.system.rootfiles import RootFiles
from migrator.tree.overlaydir import Transfer

TARGETS = (overlay2.NAME,)


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """What is known before the first layer is read.

    What is to come has two parts: `legacy` is the plan for the images of Docker
    <= 1.9 that no store has yet, `stored` the content-addressed store of
    `source`. There may be one of them or both; `nothing_to_do` says why neither
    has anything that `target` lacks. The layers `to_build` from `source` for
    `target` are v1 IDs, or chainIDs of a content-addressed store, with their
    sizes; their content has `size` bytes and comes there by `transfer`, for which
    they `need` about that. `containers` come on top of it, whose layers are
    copied. `state` is where a run keeps what it does.
    """

    root: LegacyRoot
    source: Driver
    target: str
    state: StateDirectory
    legacy: Plan | None = None
    stored: Transferable | None = None
    nothing_to_do: str | None = None
    problems: tuple[Problem, ...] = ()
    images: int = 0
    to_build: tuple[tuple[str, int], ...] = ()
    size: int = 0
    tags: int = 0
    containers: int = 0
    transfer: Transfer = Transfer.COPY
    need: Need = NOTHING

    @property
    def driver(self) -> str:
        """The name of the storage driver that the layers come from."""
        return self.source.name

    @property
    def layers(self) -> int:
        """How many layers are to be built."""
        return len(self.to_build)


def check_target(target: str) -> None:
    """Raise UsageError when no store can be made for the storage driver `target`."""
    if target not in TARGETS:
        hint = f"possible: {', '.join(TARGETS)}"
        raise UsageError(f"{target!r} is no storage driver to migrate to", hint=hint)


def make_conversion_plan(root: LegacyRoot, chosen: str, target: str) -> ConversionPlan:
    """Read the metadata of whichever store there is; `chosen` is its driver as the user named it.

    Raises DataRootError when there is no store, DriverError when it is unclear
    which is meant.
    """
    state = StateDirectory.next(root.path, target)
    with RootFiles(root.path) as files:
        found = [name for name in stores_in(files) if name in drivers.KNOWN]
        name = _source(files, root, found, chosen, target)
        driver = root.driver_called(name)
        if name == target:
            reason = f"the store is one of {target} already, nothing to do"
            return ConversionPlan(root, driver, target, state, nothing_to_do=reason)
        there = image_ids(files, target)
        stored = None
        if name in found:
            stored = _unnamed_since(read_transferable(files, driver), state, there)
        legacy = None
        if root.has_store and root.driver_name == name:
            legacy = make_plan(root, target, stored.images if stored else ())
        return _plan(files, root, driver, state, legacy, stored, there)


def names_in(files: RootFiles, root: LegacyRoot, target: str) -> Names:
    """The names in the target driver's directory."""
    return Names(files, read_layers(files, drivers.get(target, root.path)))


def _unnamed_since(store: Transferable, state: StateDirectory, there: Set[str]) -> Transferable:
    """The store without the names of images that came over in an earlier run for this target.

    Their owner may have removed some since. `there` are the images of the target.
    """
    earlier = (each for each in StateDirectory.all(state.data_root) if each.target == state.target)
    if not any(each.phase is Phase.PUBLISHED for each in earlier):
        return store
    came = {x.key: (x.key, x.image_id) for x in store.references if x.image_id in there}
    return dataclasses.replace(
        store,
        references=tuple(each for each in store.references if each.key not in came),
        problems=(*store.problems, *left_out_before(state, state.target, came)),
    )


def _plan(
    files: RootFiles,
    root: LegacyRoot,
    driver: Driver,
    state: StateDirectory,
    legacy: Plan | None,
    stored: Transferable | None,
    there: Set[str],
) -> ConversionPlan:
    if stored and not (legacy or stored.layers or stored.images) and stored.problems:
        raise DataRootError(
            f"nothing of it can be migrated; {stored.problems[0]}",
            subject=str(root.path / TOP / driver.name),
        )
    to_come = to_build(stored, names_in(files, root, state.target)) if stored else None
    problems = dict.fromkeys(
        (*(legacy.problems if legacy else ()), *(stored.problems if stored else ()))
    )
    images = [*(stored.images.keys() - there if stored else ())]
    names = [*_names_to_come(root, stored, state.target)] if stored else []
    nothing_new = (legacy is None or legacy.nothing_new) and not (
        images or names or (to_come and (to_come.images or to_come.containers))
    )
    layers = [
        (task.v1_id, task.size, Load.estimated(task.size, task.record_size).files)
        for task in (legacy.tasks if legacy else ())
    ]
    layers += [
        (each.origins[0].layer, each.size, Load.estimated(each.size, each.record_size).files)
        for each in (to_come.images if to_come else ())
    ]
    return ConversionPlan(
        root=root,
        source=driver,
        target=state.target,
        state=state,
        legacy=legacy,
        stored=stored,
        nothing_to_do=why_nothing_new(problems, state.target) if nothing_new else None,
        problems=tuple(problems),
        images=len(legacy.tasks if legacy else ()) + len(images),
        to_build=(
            *((task.v1_id, task.size) for task in (legacy.tasks if legacy else ())),
            *((each.chain, each.size) for each in (to_come.images if to_come else ())),
        ),
        size=sum(size for _, size, _ in layers),
        tags=len(legacy.references if legacy else ()) + len(names),
        containers=len(legacy.containers if legacy else ())
        + len(to_come.containers if to_come else ()),
        transfer=_expected_transfer(driver, layers),
        need=expected_need(driver, layers, root.path),
    )


def _names_to_come(root: LegacyRoot, store: Transferable, target: str) -> Iterator[str]:
    """The names in a store that the target has not, for whatever image."""
    known: Mapping[str, str] = {}
    with contextlib.suppress(FormatError):
        known = read_names(root.path, target)
    yield from (each.key for each in store.references if each.key not in known)


def _expected_transfer(driver: Driver, layers: Sequence[tuple[str, int, int]]) -> Transfer:
    return expected_transfer(driver, layers[0][0], driver.data_root) if layers else Transfer.COPY


def _source(
    files: RootFiles, root: LegacyRoot, found: Sequence[str], chosen: str, target: str
) -> str:
    """The driver of the store to convert; `target` if there is no other one.

    `found` are the drivers of the content-addressed stores.
    """
    legacy = root.has_store and root.driver_name != target
    if legacy and chosen == root.driver_name:
        return chosen
    others = [name for name in found if name != target]
    alone = {root.driver_name}.issuperset(others)
    if chosen == AUTO and legacy and (alone or not is_migrated(root.path)):
        return root.driver_name
    if chosen == AUTO and found and not others:
        return target
    return choose_store(files, found if chosen != AUTO else others, chosen)
