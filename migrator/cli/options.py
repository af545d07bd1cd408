"""The options that several commands share; each also reads `MIGRATOR_<NAME>`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from migrator.cli.failures import interrupted, tell
from migrator.errors import MigratorError, UsageError
from migrator.progress import Progress, make_progress
from migrator.report.writing import check_writable

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Place:
    """Which data root a command is about."""

    graph: Path
    storage_driver: str
    storage_opts: tuple[str, ...]
    work_dir: Path | None
    quiet: bool


@dataclass(frozen=True, slots=True)
class Work(Place):
    """The same, and how to work on it."""

    workers: int | None
    progress_way: str
    report: Path | None
    verbose: bool

    @property
    def tells_json(self) -> bool:
        """Whether all that is said on standard error is to be JSON lines."""
        return self.progress_way == "json"

    def progress(self) -> Progress:
        """What `--progress` and `--quiet` ask for."""
        return make_progress("none" if self.quiet else self.progress_way)


def place_options(command: Command) -> Command:
    """Give a command the options that say where, handed to it as one `Place`."""

    def gather(
        graph: str,
        storage_driver: str,
        storage_opt: tuple[str, ...],
        work_dir: Path | None,
        quiet: bool,
        **others: Any,
    ) -> Any:
        _check_storage_opts(storage_opt)
        return command(Place(Path(graph), storage_driver, storage_opt, work_dir, quiet), **others)

    return _with_options(gather, command, _PLACE)


def work_options(command: Command) -> Command:
    """Give a command all common options, handed to it as one `Work`."""

    def gather(
        graph: str,
        storage_driver: str,
        storage_opt: tuple[str, ...],
        work_dir: Path | None,
        quiet: bool,
        workers: int | None,
        progress: str,
        report: str | None,
        verbose: bool,
        **others: Any,
    ) -> Any:
        target = Path(report) if report else None
        place = (Path(graph), storage_driver, storage_opt, work_dir, quiet)
        work = Work(*place, workers, progress, target, verbose)
        try:
            _check_storage_opts(storage_opt)
            if target is not None:
                # Not only after hours of work.
                check_writable(target)
            return command(work, **others)
        except KeyboardInterrupt:
            error: MigratorError = interrupted()
        except MigratorError as raised:
            error = raised
        return tell(error, as_json=work.tells_json)

    return _with_options(gather, command, (*_PLACE, *_WORK))


def _with_options(
    gather: Callable[..., Any], command: Command, options: tuple[Callable[..., Any], ...]
) -> Command:
    functools.update_wrapper(gather, command)
    for add in reversed(options):
        gather = add(gather)
    return gather  # type: ignore[return-value]


def _check_storage_opts(options: tuple[str, ...]) -> None:
    for text in options:
        if not text.partition("=")[2]:
            raise UsageError(f"--storage-opt takes KEY=VALUE, not {text!r}")


def option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    """`click.option` with the environment variable that belongs to its long name."""
    long = next(name for name in names if name.startswith("--"))
    variable = "MIGRATOR_" + long[2:].upper().replace("-", "_")
    return click.option(*names, envvar=variable, show_envvar=True, **attributes)


_PLACE = (
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
        "--work-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where large temporary files go, if the storage driver needs any.",
    ),
    option("-q", "--quiet", is_flag=True, help="Say nothing but what went wrong."),
)

_WORK = (
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
)
