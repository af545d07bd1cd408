"""A store of the devicemapper driver against the same layers on overlay."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import measuring
from bench.output import table, write
from legacy_fixtures.thinpool import to_thin_pool

# The documented example, a quarter of it: 0.5 GB in 52 layers, four of its images on one base.
_SHAPE, _SCALE = "doc", 0.25

# Bytes of a device.
_DEVICE = 4 << 30


def compare(directory: Path, scale: float, runs: int, workers: int, fs: str) -> dict[str, Any]:
    """Seconds on both, alternating, and the bytes read from the pool's data, hashing all layers."""
    overlay = measuring.store(directory, _SHAPE, "overlay", _SCALE * scale)
    thin = _thin(overlay, fs)
    data = thin / "devicemapper/devicemapper/data"
    measuring.migrate(overlay, workers)
    measuring.migrate(thin, workers)
    seconds: dict[str, list[float]] = {"overlay": [], "devicemapper": []}
    hashing: dict[str, list[float]] = {"overlay": [], "devicemapper": []}
    for _ in range(runs):
        for name, root in (("overlay", overlay), ("devicemapper", thin)):
            run = measuring.migrate(root, workers)
            seconds[name].append(run.seconds)
            hashing[name].append(run.report["phases"]["hash"])
    figures: dict[str, Any] = {
        "bytes hashed": run.report["bytes"],
        "distinct bytes in the pool": data.stat().st_size,
    }
    for label, values in (("whole command", seconds), ("hashing", hashing)):
        spreads = {name: measuring.spread(taken) for name, taken in values.items()}
        figures |= {f"{name}, {label}, seconds": spread for name, spread in spreads.items()}
        ratio = spreads["devicemapper"]["median"] / spreads["overlay"]["median"]
        figures[f"devicemapper, {label}, times overlay"] = ratio
    if shutil.which("strace"):
        measuring.reset(thin)
        read = _bytes_read(data, measuring.migrate_command(thin, workers))
        measuring.reset(thin)
        figures["bytes read from the pool"] = read
        figures["bytes read, times the distinct ones"] = read / data.stat().st_size
    return figures


def write_results(results: Path, figures: dict[str, dict[str, Any]]) -> None:
    """`devicemapper.json` and `devicemapper.md`."""
    tables = []
    for name, values in figures.items():
        rows = [[label, *_shown(value)] for label, value in values.items()]
        tables.append(f"## {name}\n\n" + table(["", "median", "least", "most"], rows))
    write(results, "devicemapper", {"stores": figures}, tables)


def _thin(overlay: Path, fs: str) -> Path:
    """The same layers on a thin pool, built if they are not there yet."""
    root = overlay.with_name(f"{overlay.name}-{fs}")
    if not root.is_dir():
        aside = root.with_name(f"{root.name}.building")
        shutil.rmtree(aside, ignore_errors=True)
        subprocess.run(["cp", "-a", overlay, aside], check=True)
        to_thin_pool(aside, "overlay", fs, _DEVICE)
        aside.rename(root)
    return root


def _bytes_read(file: Path, command: Sequence[str]) -> int:
    """How much a command reads of a file, as the kernel is asked for it."""
    with tempfile.NamedTemporaryFile("r") as trace:
        calls = "trace=read,readv,pread64,preadv,preadv2,copy_file_range,sendfile,splice,mmap,ioctl"
        strace = ["strace", "-f", "-qq", "-P", str(file), "-e", calls, "-o", trace.name]
        subprocess.run([*strace, *command], check=True, stdout=subprocess.DEVNULL)
        done = [line for line in trace if "ENOTTY" not in line]
    if any(re.search(r" (mmap|ioctl|splice|sendfile)\(", line) for line in done):
        sys.exit(f"{file} is read in ways that are not counted here")
    return sum(int(match[1]) for line in done if (match := re.search(r" = (\d+)$", line)))


def _shown(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{value[key]:.2f}" for key in ("median", "min", "max")]
    return [f"{value / 1e6:.1f} MB" if isinstance(value, int) else f"{value:.2f}", "", ""]
