"""The timing model: fitted to runs on this host, checked on others, and applied to named hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.measuring import limited, migrate
from bench.output import bars, table, write
from migrator.layer.load import Load
from migrator.report.model import COSTS, NAMED_HOSTS, Costs, Speed

# What a t2.micro gives a process.
_SMALL_CPUS = 1
_SMALL_MEMORY = 1 << 30

# https://github.com/docker/v1.10-migrator: 7 images, 2.0 GB, that tool.
_DOCUMENTED = {"t2.micro": 59.6, "m4.10xlarge": 9.9}


# A store, the number of workers, and what confines them.
Configuration = tuple[str, int, Callable[[], None] | None]


@dataclass(frozen=True, slots=True)
class Measured:
    """A configuration and the median seconds of its hashing phase."""

    store: str
    workers: int
    limited: bool
    seconds: float
    loads: tuple[Load, ...]

    @property
    def name(self) -> str:
        return f"{self.store}, {self.workers} workers" + (", 1 CPU, 1 GB" if self.limited else "")


def measure(stores: dict[str, Path], workers: Sequence[int], runs: int) -> list[Measured]:
    """All stores with each number of workers, and with one CPU and a gigabyte; alternating."""
    with limited(_SMALL_CPUS, _SMALL_MEMORY) as small:
        configurations: list[Configuration] = [
            (store, number, prepare)
            for store in stores
            for number, prepare in [*((number, None) for number in workers), (1, small)]
        ]
        return _measure(stores, configurations, runs)


def _measure(
    stores: dict[str, Path], configurations: list[Configuration], runs: int
) -> list[Measured]:
    seconds: dict[int, list[float]] = {}
    loads: dict[int, tuple[Load, ...]] = {}
    for run in range(runs + 1):
        for index, (store, number, prepare) in enumerate(configurations):
            report = migrate(stores[store], number, prepare=prepare).report
            # The first round only fills the page cache.
            if run:
                seconds.setdefault(index, []).append(report["phases"]["hash"])
                loads[index] = tuple(map(_load, report["layers"]))
    return [
        Measured(store, number, prepare is not None, median(seconds[index]), loads[index])
        for index, (store, number, prepare) in enumerate(configurations)
    ]


def fit(measured: Sequence[Measured], speed: Speed) -> Costs:
    """The constants that explain the runs best.

    Least squares of relative errors of whole runs, the work shared out evenly
    among the workers.
    """
    import numpy as np

    rows, ones = [], []
    for each in measured:
        loads = each.loads
        row = [
            sum(load.size for load in loads) / speed.hashing,
            sum(load.files for load in loads if not load.recomputed) * speed.opening,
            sum(load.files for load in loads if load.recomputed) * speed.opening,
            len(loads) * speed.opening,
        ]
        row = [*(value / each.workers for value in row), len(loads) * speed.opening]
        rows.append([value / each.seconds for value in row])
        ones.append(1 - COSTS.fixed / each.seconds)
    fitted = np.linalg.lstsq(np.array(rows), np.array(ones), rcond=None)[0]
    return Costs(*map(float, fitted), COSTS.fixed)


def write_hosts(results: Path, measured: Sequence[Measured], speed: Speed) -> None:
    """`hosts.json`, `hosts.md` and a plot: the fit, its check, and the named hosts."""
    costs = fit(measured, speed)
    checks = []
    for each in measured:
        here = replace(speed, cpus=1) if each.limited else speed
        fitted = here.seconds(each.loads, each.workers, costs)
        built_in = here.seconds(each.loads, each.workers)
        checks.append((each, fitted, built_in))
    example = next((each for each in measured if each.store.startswith("doc")), measured[0])
    predictions = {
        host.name: host.speed.seconds(example.loads, host.speed.cpus, costs) for host in NAMED_HOSTS
    }
    check = table(
        ["configuration", "measured", "fitted model", "error", "model in the tool", "error"],
        [
            [
                each.name,
                f"{each.seconds:.3f} s",
                f"{fitted:.3f} s",
                f"{fitted / each.seconds - 1:+.0%}",
                f"{built_in:.3f} s",
                f"{built_in / each.seconds - 1:+.0%}",
            ]
            for each, fitted, built_in in checks
        ],
    )
    named = table(
        ["host", "predicted", "documented for v1.10-migrator", "assumed"],
        [
            [
                host.name,
                f"{predictions[host.name]:.1f} s",
                f"{_DOCUMENTED[host.name]} s" if host.name in _DOCUMENTED else "",
                f"{host.assumed}; SHA-256 {host.speed.hashing / 1e6:.0f} MB/s a core,"
                f" {host.speed.opening * 1e6:.1f} µs an opening, cold files",
            ]
            for host in NAMED_HOSTS
        ],
    )
    results.mkdir(parents=True, exist_ok=True)
    bars(
        results / "hosts.svg",
        "7 images, 2.0 GB: predicted hashing time",
        "seconds",
        {name: dict.fromkeys(("median", "min", "max"), took) for name, took in predictions.items()},
    )
    data: dict[str, Any] = {
        "speed": asdict(speed),
        "costs": asdict(costs),
        "built_in_costs": asdict(COSTS),
        "largest_error": max(abs(fitted / each.seconds - 1) for each, fitted, _ in checks),
        "checks": [
            {
                "configuration": each.name,
                "seconds": each.seconds,
                "fitted": fitted,
                "built_in": built_in,
            }
            for each, fitted, built_in in checks
        ],
        "predictions": predictions,
        "documented": _DOCUMENTED,
    }
    about = (
        f"This host: SHA-256 {speed.hashing / 1e6:.0f} MB/s a core,"
        f" {speed.opening * 1e6:.2f} µs an opening. Fitted to these runs:"
        f" byte {costs.byte:.3f}, file {costs.file:.2f},"
        f" file without record {costs.file_recomputed:.2f}, layer {costs.layer:.1f},"
        f" handing it out {costs.handing_out:.1f}."
    )
    tables = [about, check, "The documented example:", named, "![hosts](hosts.svg)"]
    write(results, "hosts", data, tables)


def _load(layer: dict[str, Any]) -> Load:
    return Load(layer["tar_bytes"], layer["files"], layer["method"] == "recomputed")
