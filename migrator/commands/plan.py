"""Looking at what `migrate` would do, in place or to another storage driver."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from migrator.conversion.planning import ConversionPlan, check_target, make_conversion_plan
from migrator.drivers import AUTO
from migrator.legacy.root import open_root
from migrator.migration.plan import Plan, make_plan
from migrator.store import overlay2


def plan(
    data_root: Path | str,
    driver: str = "auto",
    *,
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
) -> Plan:
    """Look at the legacy data root `data_root` without changing anything.

    `driver` names the storage driver (`auto` finds it). Raises a
    `MigratorError` when there is no store that could be migrated.
    """
    return make_plan(open_root(Path(data_root), driver, storage_opts, work_dir))


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
