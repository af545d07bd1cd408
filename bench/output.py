"""Results: JSON for programs, Markdown for people, SVG plots, and the machine they are from."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from migrator.system.host import Host
from migrator.version import __version__


def write(results: Path, name: str, data: Mapping[str, Any], tables: Sequence[str]) -> None:
    """Write `NAME.json` and `NAME.md` into the directory `results`."""
    results.mkdir(parents=True, exist_ok=True)
    host = Host.here(results)
    machine = {
        **host.as_json(),
        "machine": platform.machine(),
        "load_before": os.getloadavg()[2],
        "migrator": __version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    document = {"machine": machine, **data}
    (results / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    about = (
        f"{host.cpu_model}, {host.cpus} CPUs, {host.memory / 2**30:.0f} GiB, Linux {host.kernel},"
        f" {host.file_system}, Python {host.python}; {machine['date']}"
    )
    text = "\n\n".join([f"# {name}", about, *tables])
    (results / f"{name}.md").write_text(text + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def bars(path: Path, title: str, unit: str, values: Mapping[str, Mapping[str, float]]) -> None:
    """Horizontal bars of medians with their spread (`median`, `min`, `max`) as an SVG file."""
    from matplotlib.figure import Figure

    names = list(values)
    medians = [values[name]["median"] for name in names]
    below = [values[name]["median"] - values[name]["min"] for name in names]
    above = [values[name]["max"] - values[name]["median"] for name in names]
    figure = Figure(figsize=(8, 1 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, medians, xerr=[below, above], color="#4477aa", ecolor="#333333")
    axes.invert_yaxis()
    axes.set(title=title, xlabel=unit)
    figure.savefig(path, metadata={"Date": None})


def curves(
    path: Path, title: str, labels: tuple[str, str], lines: Mapping[str, Mapping[float, float]]
) -> None:
    """Lines over a logarithmic axis as an SVG file; `labels` are those of the axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        axes.plot(list(points), list(points.values()), marker="o", label=name)
    axes.set(title=title, xlabel=labels[0], ylabel=labels[1], xscale="log", yscale="log")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
