"""migrator against this host's limits and against others, alternating, in one run."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import limits
from bench.measuring import (
    Run,
    drop_caches,
    migrate,
    migrate_command,
    peak_memory,
    reset,
    spread,
    timed,
)
from bench.output import bars, table, write
from bench.shapes import SHAPES

# Workers for the memory figure.
_MANY = 4


def compare(
    root: Path, shape: str, driver: str, runs: int, cpus: int, against: tuple[str, ...]
) -> dict[str, Any]:
    """All figures for one store, each with its spread over `runs` alternating runs."""
    peers: dict[str, Callable[[], float]] = {}
    if SHAPES[shape].records:
        peers["tar-split asm | openssl"] = lambda: _tar_split(root, driver, cpus)
    for command in against:
        line = command.replace("{root}", shlex.quote(str(root)))
        peers[command] = lambda line=line: timed(line).seconds  # type: ignore[misc]
    migrate(root, cpus)
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    size = 0
    for _ in range(runs):
        core = limits.digest_rate("sha256")
        note("SHA-256 on one core, bytes/s", core)
        for workers in sorted({1, cpus}):
            run = migrate(root, workers)
            size = run.report["bytes"]
            _note_run(note, f"migrator, {workers} workers", run, workers * core)
        for name, peer in peers.items():
            note(f"{name}, seconds", peer())
    figures: dict[str, Any] = {name: spread(values) for name, values in found.items()}
    figures["bytes"] = size
    reset(root)
    figures[f"peak memory, {_MANY} workers, bytes"] = peak_memory(migrate_command(root, _MANY))
    reset(root)
    ours = figures[f"migrator, {cpus} workers, hashing, seconds"]["median"]
    if cpus > 1:
        one = figures["migrator, 1 workers, hashing, seconds"]["median"]
        figures["all workers against one"] = one / ours
    for name in peers:
        figures[f"{name}, times migrator's hashing"] = figures[f"{name}, seconds"]["median"] / ours
    return figures


def cold(root: Path, driver: str, runs: int, cpus: int) -> dict[str, Any]:
    """migrator and `tar` on files that are not in the page cache, alternating; only as root."""
    if not drop_caches():
        return {}
    trees = limits.trees_of(root, driver)
    size = limits.size_of(trees)
    tar_rates, rates = [], []
    for _ in range(runs):
        tar_rate = limits.tar_rate(trees, size, cold=True)
        assert tar_rate is not None
        tar_rates.append(tar_rate)
        drop_caches()
        rates.append(size / migrate(root, cpus).report["phases"]["hash"])
    return {
        "tar, cold, bytes/s": spread(tar_rates),
        "migrator, cold, bytes/s": spread(rates),
        "migrator, cold, of tar": spread(
            [ours / theirs for ours, theirs in zip(rates, tar_rates, strict=True)]
        ),
    }


def write_comparison(results: Path, data: dict[str, dict[str, Any]]) -> None:
    """`compare.json`, `compare.md` and a plot for each store."""
    tables = []
    for name, figures in data.items():
        rows = [
            [label, *(_shown(label, value[key]) for key in ("median", "min", "max"))]
            if isinstance(value, dict)
            else [label, _shown(label, value), "", ""]
            for label, value in figures.items()
        ]
        tables.append(f"## {name}\n\n" + table(["", "median", "least", "most"], rows))
        seconds = {
            label.removesuffix(", seconds"): value
            for label, value in figures.items()
            if label.endswith(", seconds")
        }
        bars(results / f"compare-{name}.svg", f"{name}: time", "seconds", seconds)
        tables[-1] += f"\n\n![{name}](compare-{name}.svg)"
    write(results, "compare", {"stores": data}, tables)


def _note_run(note: Callable[[str, float], None], label: str, run: Run, limit: float) -> None:
    hashing = run.report["phases"]["hash"]
    note(f"{label}, hashing, seconds", hashing)
    note(f"{label}, whole command, seconds", run.seconds)
    note(f"{label}, bytes/s", run.report["bytes"] / hashing)
    note(f"{label}, of workers x SHA-256", run.report["bytes"] / hashing / limit)
    note(f"{label}, ms a layer, whole command", run.seconds / len(run.report["layers"]) * 1e3)


def _tar_split(root: Path, driver: str, workers: int) -> float:
    """Seconds for `tar-split asm | openssl dgst -sha256` over all layers, the largest first."""
    graph = root / "graph"
    sizes = {path.name: int((path / "layersize").read_text()) for path in graph.iterdir()}
    trees = limits.trees_of(root, driver)

    def layer(v1_id: str) -> None:
        record = shlex.quote(str(graph / v1_id / "tar-data.json.gz"))
        tree = shlex.quote(str(trees / v1_id / ("root" if driver == "overlay" else "")))
        timed(
            f"tar-split asm --input {record} --path {tree} --output -"
            " 2>/dev/null | openssl dgst -sha256 -r"
        )

    def all_layers() -> None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(layer, sorted(sizes, key=lambda v1_id: -sizes[v1_id])))

    return limits.wall(all_layers)


def _shown(label: str, value: float) -> str:
    if "bytes/s" in label:
        return f"{value / 1e6:.0f} MB/s"
    if "bytes" in label:
        return f"{value / 1e6:.0f} MB"
    if label.endswith("seconds"):
        return f"{value:.3f} s"
    return f"{value:.3f}"
