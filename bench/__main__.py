"""`python -m bench COMMAND`: see each command's help."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from bench import compare as comparing
from bench import digests as digesting
from bench import hosts as hosting
from bench import limits as limiting
from bench import measuring, scale, thinpool
from bench.many import Size
from bench.output import table, write
from bench.shapes import SHAPES
from migrator.report.model import Speed
from migrator.system.host import usable_cpus

_TIMED = ("doc", "few-large", "many-small", "deep", "no-records", "empty")
_FITTED = ("doc", "few-large", "many-small", "deep", "no-records", "empty")


@click.group()
def main() -> None:
    """Measure migrator on synthetic legacy stores. Run it as root on a quiet machine."""


def _common(command: Callable[..., None]) -> Callable[..., None]:
    @click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path),
        default=Path(tempfile.gettempdir()) / "migrator-bench",
        show_default=True,
        help="Where stores are built and kept.",
    )
    @click.option(
        "--results",
        type=click.Path(path_type=Path),
        default=Path(__file__).parent / "results",
        show_default=True,
        help="Where results are written.",
    )
    @click.option("--scale", default=1.0, show_default=True, help="Size of the stores.")
    @click.option("--runs", default=5, show_default=True, help="Alternating runs.")
    @click.option(
        "--driver", type=click.Choice(["aufs", "overlay"]), default="aufs", show_default=True
    )
    @functools.wraps(command)
    def wrapped(**options: Any) -> None:
        command(**options)

    return wrapped


def _plots(command: Callable[..., None]) -> Callable[..., None]:
    """For a command that takes more than migrator does: said before anything is measured."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        missing = [name for name in ("matplotlib", "numpy") if find_spec(name) is None]
        if missing:
            raise click.ClickException(
                f"{' and '.join(missing)} is missing: .venv/bin/pip install -e '.[bench]'"
            )
        command(*arguments, **options)

    return wrapped


_shapes = click.argument("shapes", nargs=-1, type=click.Choice(list(SHAPES)))


@main.command()
@_common
@_shapes
def stores(directory: Path, scale: float, driver: str, shapes: tuple[str, ...], **_: Any) -> None:
    """Build the stores of these shapes (default: all)."""
    for shape in shapes or SHAPES:
        root = measuring.store(directory, shape, driver, scale)
        click.echo(f"{root}: {SHAPES[shape].about}")


@main.command()
@_common
@_shapes
def limits(
    directory: Path,
    results: Path,
    scale: float,
    runs: int,
    driver: str,
    shapes: tuple[str, ...],
) -> None:
    """What this host can do: SHA-256 on one core and all, and reading stores with tar."""
    cpus = usable_cpus()
    figures: dict[str, list[float | None]] = {"SHA-256, one core": [], "SHA-256, all cores": []}
    for shape in shapes or ("doc", "few-large", "many-small"):
        trees = limiting.trees_of(measuring.store(directory, shape, driver, scale), driver)
        size = limiting.size_of(trees)
        limiting.tar_rate(trees, size, cold=False)
        for _ in range(runs):
            figures["SHA-256, one core"].append(limiting.digest_rate("sha256"))
            figures["SHA-256, all cores"].append(limiting.digest_rate_of_all("sha256", cpus))
            for cold in (False, True):
                label = f"tar of {shape}, {'cold' if cold else 'warm'}"
                figures.setdefault(label, []).append(limiting.tar_rate(trees, size, cold=cold))
    known = {
        name: measuring.spread([value for value in values if value is not None])
        for name, values in figures.items()
        if any(values)
    }
    rows = [
        [name, *(f"{value[key] / 1e6:.0f}" for key in ("median", "min", "max"))]
        for name, value in known.items()
    ]
    text = table(["MB/s", "median", "least", "most"], rows)
    write(results, "limits", {"cpus": cpus, "bytes_per_second": known}, [text])
    click.echo(text)


@main.command()
@_common
@_shapes
@click.option("--against", multiple=True, metavar="CMD", help="A peer; {root} is the data root.")
@_plots
def compare(
    directory: Path,
    results: Path,
    scale: float,
    runs: int,
    driver: str,
    shapes: tuple[str, ...],
    against: tuple[str, ...],
) -> None:
    """Compare migrator with this host's limits and with peers, store by store."""
    cpus = usable_cpus()
    data = {}
    results.mkdir(parents=True, exist_ok=True)
    for shape in shapes or _TIMED:
        root = measuring.store(directory, shape, driver, scale)
        data[shape] = comparing.compare(root, shape, driver, runs, cpus, against)
        if shape in ("doc", "few-large"):
            data[shape] |= comparing.cold(root, driver, runs, cpus)
        click.echo(shape)
    comparing.write_comparison(results, data)
    click.echo((results / "compare.md").read_text())


@main.command()
@_common
@_plots
def digests(results: Path, scale: float, **_: Any) -> None:
    """SHA-256, BLAKE3 and CRC-64 by size, on one core and all."""
    cpus = usable_cpus()
    digesting.write_digests(results, digesting.measure(cpus, min(0.3, 0.3 * scale)), cpus)
    click.echo((results / "digests.md").read_text())


@main.command()
@_common
@_shapes
@_plots
def hosts(
    directory: Path,
    results: Path,
    scale: float,
    runs: int,
    driver: str,
    shapes: tuple[str, ...],
) -> None:
    """Fit the timing model, check it, and predict the time on named hosts."""
    cpus = usable_cpus()
    built = {shape: measuring.store(directory, shape, driver, scale) for shape in shapes or _FITTED}
    speed = Speed.here(cpus)
    measured = hosting.measure(built, range(1, cpus + 1), runs)
    hosting.write_hosts(results, measured, speed)
    click.echo((results / "hosts.md").read_text())


@main.command()
@_common
def devicemapper(directory: Path, results: Path, scale: float, runs: int, **_: Any) -> None:
    """A store of 500 MB on a thin pool, with ext4 and with xfs, against overlay; only as root."""
    cpus = usable_cpus()
    figures = {fs: thinpool.compare(directory, scale, runs, cpus, fs) for fs in ("ext4", "xfs")}
    thinpool.write_results(results, figures)
    click.echo((results / "devicemapper.md").read_text())


@main.command("scale")
@_common
@click.option("--images", default=500, show_default=True, help="Of the smallest store.")
@click.option("--containers", default=5000, show_default=True, help="Of the smallest store.")
@click.option("--times", default="1,2,4", show_default=True, help="The stores' sizes.")
def scaling(
    directory: Path, results: Path, images: int, containers: int, times: str, **_: Any
) -> None:
    """How time and memory of every command grow with the number of images and containers."""
    sizes = [Size(images, containers).times(int(factor)) for factor in times.split(",")]
    directory.mkdir(parents=True, exist_ok=True)
    scale.write_scale(results, {size: scale.measure(directory, size) for size in sizes})
    click.echo((results / "scale.md").read_text())


@main.command()
@_common
@click.pass_context
@_plots
def all(context: click.Context, /, **options: Any) -> None:
    """Everything: the reference run."""
    context.invoke(digests, **options)
    context.invoke(limits, **options, shapes=())
    context.invoke(compare, **options, shapes=tuple(SHAPES), against=())
    context.invoke(hosts, **options, shapes=())
    context.invoke(devicemapper, **options)


if __name__ == "__main__":
    main()
