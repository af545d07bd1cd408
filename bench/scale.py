"""How time and memory of every command grow with the number of images and containers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.many import Size, build
from bench.output import table, write

_OVERLAY2 = ("--target-driver", "overlay2")
# In this order, on one store; at the end it is what it was.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "plan": ("plan",),
    "checksums": ("checksums", "--quiet"),
    "migrate": ("migrate", "--quiet"),
    "status": ("status",),
    "verify --quick": ("verify", "--quick"),
    "verify": ("verify", "--quiet"),
    "migrate, already migrated": ("migrate", "--quiet"),
    "migrate to overlay2": ("migrate", "--quiet", *_OVERLAY2),
    "rollback of that": ("rollback",),
    "rollback": ("rollback",),
    "export of one image": ("export", "--quiet", "--output", "{export}", "acme/app-0:v1"),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took: seconds, those of the processors, bytes of its largest process."""

    seconds: float
    cpu: float
    memory: int


def measure(directory: Path, size: Size) -> dict[str, Cost]:
    """Run all commands on a store of this size, which is built below `directory` and removed."""
    root, export = directory / f"many-{size.containers}", directory / "many-export"
    shutil.rmtree(root, ignore_errors=True)
    build(size, root)
    costs = {}
    try:
        for name, words in COMMANDS.items():
            command, *options = (word.format(export=export) for word in words)
            costs[name] = _cost([command, "--graph", str(root), *options])
            shutil.rmtree(export, ignore_errors=True)
    finally:
        shutil.rmtree(root)
    return costs


def write_scale(results: Path, measured: Mapping[Size, Mapping[str, Cost]]) -> None:
    """`scale.json` and `scale.md`: each size, and how much more it takes than the one before."""
    sizes = list(measured)
    head = ["", *(f"{size.images} images, {size.containers} containers" for size in sizes)]
    rows: dict[str, list[list[str]]] = {"seconds": [], "processor seconds": [], "MB": []}
    for name in COMMANDS:
        costs = [measured[size][name] for size in sizes]
        rows["seconds"].append([name, *_grown([cost.seconds for cost in costs], 1)])
        rows["processor seconds"].append([name, *_grown([cost.cpu for cost in costs], 1)])
        rows["MB"].append([name, *_grown([cost.memory for cost in costs], 1 << 20)])
    data = {
        f"{size.images}/{size.containers}": {name: asdict(cost) for name, cost in costs.items()}
        for size, costs in measured.items()
    }
    tables = [f"## {unit}\n\n{table(head, lines)}" for unit, lines in rows.items()]
    write(results, "scale", {"sizes": data}, tables)


def _grown(values: list[float], unit: int) -> list[str]:
    """Each value, and how many times the one before it is."""
    before = [None, *values]
    return [
        f"{value / unit:.1f}" + (f" (x {value / last:.2f})" if last else "")
        for value, last in zip(values, before, strict=False)
    ]


def _cost(arguments: list[str]) -> Cost:
    """Run a command of migrator, which must succeed."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "migrator", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    seconds = time.perf_counter() - begun
    # Those of its workers are in all three.
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)
