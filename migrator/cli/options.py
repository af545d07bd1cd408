"""The options that several commands share; each also reads `MIGRATOR_<NAME>`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from migrator.errors import UsageError
from migrator.progress import Progress, make_progress
from migrator.report.writing import check_writable

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Common:
    """The values of the common options."""

    graph: Path
    storage_driver: str
    storage_opts: tuple[str, ...]
    workers: int | None
    progress_way: str
    report: Path | None
    verbose: bool
    quiet: bool

    def progress(self) -> Progress:
        """What `--progress` and `--quiet` ask for."""
        return make_progress("none" if self.quiet else self.progress_way)


def common_options(command: Command) -> Command:
    """Give a command the common options, handed to it as one `common` argument."""

    def gather(
        graph: str,
        storage_driver: str,
        storage_opt: tuple[str, ...],
        workers: int | None,
        progress: str,
        report: str | None,
        verbose: bool,
        quiet: bool,
        **others: Any,
    ) -> Any:
        for text in storage_opt:
            if not text.partition("=")[2]:
                raise UsageError(f"--storage-opt takes KEY=VALUE, not {text!r}")
        if report:
            # Not only after hours of work.
            check_writable(Path(report))
        common = Common(
            Path(graph),
            storage_driver,
            storage_opt,
            workers,
            progress,
            Path(report) if report else None,
            verbose,
            quiet,
        )
        return command(common, **others)

    gather.__name__ = command.__name__
    gather.__doc__ = command.__doc__
    gather.__click_params__ = list(getattr(command, "__click_params__", ()))  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        gather = option(gather)
    return gather  # type: ignore[return-value]


def option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    """`click.option` with the environment variable that belongs to its long name."""
    long = next(name for name in names if name.startswith("--"))
    variable = "MIGRATOR_" + long[2:].upper().replace("-", "_")
    return click.option(*names, envvar=variable, show_envvar=True, **attributes)


_OPTIONS = (
    option(
        "-g",
        "--graph",
        metavar="DIR",
        default="/var/lib/docker",
        show_default=True,
        help="Docker's data root.",
    ),
    option(
        "-s",
        "--storage-driver",
        metavar="NAME",
        default="auto",
        show_default=True,
        help="The storage driver whose store is meant.",
    ),
    option(
        "--storage-opt",
        metavar="KEY=VALUE",
        multiple=True,
        help="A storage driver option, as the Docker daemon took it; may be repeated.",
    ),
    option(
        "--workers",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Worker processes.  [default: the CPUs this process may use]",
    ),
    option(
        "--progress",
        type=click.Choice(["auto", "bar", "plain", "json", "none"]),
        default="auto",
        show_default=True,
        help="How progress is shown, on standard error.",
    ),
    option("--report", metavar="FILE", help="Write a report of the run, as JSON."),
    option("-v", "--verbose", is_flag=True, help="Say more: a line for every layer."),
    option("-q", "--quiet", is_flag=True, help="Say nothing but what went wrong."),
)
