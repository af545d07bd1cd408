"""Running commands on a store and seeing what they take."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.building import EXPECTED, build
from bench.shapes import SHAPES, scaled

# Seconds between two looks at a process tree's memory.
_SAMPLING = 0.02

_ADDED = (".migrator", "image", ".migration-v1-images.json", ".migration-v1-tags")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command: wall and processor seconds, and its report if it wrote one."""

    seconds: float
    cpu: float
    report: dict[str, Any]


def store(directory: Path, shape: str, driver: str, scale: float = 1.0) -> Path:
    """The store of this shape below `directory`, built if it is not there yet."""
    root = directory / f"{shape}-{driver}-{scale:g}"
    if not root.is_dir():
        build(scaled(SHAPES[shape], scale), root, driver)
    return root


def reset(root: Path) -> None:
    """Make a migrated store a legacy one again."""
    for name in _ADDED:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def migrate(root: Path, workers: int, *, prepare: Callable[[], None] | None = None) -> Run:
    """Migrate a store, check every digest, and take it back.

    `prepare` is called in the new process before it becomes migrator.
    """
    reset(root)
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        run = timed(migrate_command(root, workers, report), prepare=prepare)
        document = json.loads(report.read_bytes())
    _check(root, document)
    reset(root)
    return Run(run.seconds, run.cpu, document)


def migrate_command(root: Path, workers: int, report: Path | None = None) -> list[str]:
    """The command line that migrates `root`."""
    command = [sys.executable, "-m", "migrator", "migrate", "--graph", str(root), "--quiet"]
    command += ["--workers", str(workers)]
    return command + (["--report", str(report)] if report else [])


def timed(command: Sequence[str] | str, *, prepare: Callable[[], None] | None = None) -> Run:
    """Run a command (a string is for the shell) that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(
        command,
        shell=isinstance(command, str),
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=prepare,
    )
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Run(seconds, cpu, {})


def peak_memory(command: Sequence[str] | str) -> int:
    """The most memory a command's process tree takes, in bytes: PSS, summed, as often sampled."""
    with subprocess.Popen(
        command, shell=isinstance(command, str), stdout=subprocess.DEVNULL
    ) as process:
        most = 0
        while process.poll() is None:
            most = max(most, sum(map(_pss, _tree(process.pid))))
            time.sleep(_SAMPLING)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return most


def drop_caches() -> bool:
    """Empty the page cache, dentries and inodes; False when that is not permitted."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def limited(cpus: int, memory: int) -> Iterator[Callable[[], None]]:
    """For `prepare`: confine a process to so many CPUs and, as root, to so many bytes."""
    group = None
    for top in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        limit = "memory.limit_in_bytes" if top.name == "memory" else "memory.max"
        try:
            candidate = top / f"migrator-bench-{os.getpid()}"
            candidate.mkdir(exist_ok=True)
            (candidate / limit).write_text(str(memory))
        except OSError:
            continue
        group = candidate
        break

    def confine() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    try:
        yield confine
    finally:
        if group is not None:
            group.rmdir()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _check(root: Path, report: dict[str, Any]) -> None:
    """Compare with the digests that the store was built with, where there are records."""
    expected = json.loads((root / EXPECTED).read_text())
    layers = report["layers"]
    if {layer["v1_id"] for layer in layers} != set(expected):
        raise RuntimeError(f"{root}: not all layers were migrated")
    for layer in layers:
        if layer["method"] != "recomputed" and layer["diff_id"] != expected[layer["v1_id"]]:
            raise RuntimeError(f"{root}: layer {layer['v1_id']} has a wrong digest")


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(
        (int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0
    )
