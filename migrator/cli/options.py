"""The options that several commands share; each also reads `MIGRATOR_<NAME>`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from migrator.cli.failures import interrupted, tell_failure
from migrator.cli.place import DEFAULT_DRIVER, DEFAULT_GRAPH, Place, Work
from migrator.errors import MigratorError, UsageError
from migrator.report.writing import check_writable

Command = TypeVar("Command", bound=Callable[..., Any])


def place_options(command: Command) -> Command:
    """Give a command the options that say where, handed to it as one `Place`."""
    return _with_options(command, _PLACE, lambda values: Place(**_place(values)))


def work_options(command: Command) -> Command:
    """Give a command all common options, handed to it as one `Work`."""
    return _with_options(command, (*_PLACE, *_WORK), _work)


def _place(values: dict[str, Any]) -> dict[str, Any]:
    """Take the fields of a `Place` out of the options' values."""
    work_dir = values.pop("work_dir")
    return {
        "command": click.get_current_context().info_name,
        "graph": Path(values.pop("graph")),
        "storage_driver": values.pop("storage_driver"),
        "storage_opts": values.pop("storage_opt"),
        "work_dir": Path(work_dir) if work_dir else None,
        "quiet": values.pop("quiet"),
    }


def _work(values: dict[str, Any]) -> Work:
    report = values.pop("report")
    return Work(
        **_place(values),
        workers=values.pop("workers"),
        progress_way=values.pop("progress"),
        report_path=Path(report) if report else None,
        verbose=values.pop("verbose"),
    )


def _with_options(
    command: Command,
    options: tuple[Callable[..., Any], ...],
    gathered: Callable[[dict[str, Any]], Place],
) -> Command:
    """Give a command these options; an error that it raises is told, and in its report."""

    def run(**values: Any) -> Any:
        place = gathered(values)
        try:
            _refuse_empty(click.get_current_context())
            _check_storage_opts(place.storage_opts)
            if place.report is not None:
                # Not only after hours of work.
                check_writable(place.report)
            return command(place, **values)
        except KeyboardInterrupt:
            error: MigratorError = interrupted()
        except MigratorError as raised:
            error = raised
        return tell_failure(error, place)

    functools.update_wrapper(run, command)
    for add in reversed(options):
        run = add(run)
    return run  # type: ignore[return-value]


def _refuse_empty(context: click.Context) -> None:
    """Raise UsageError for a value that is empty, as that of an unset shell variable is."""
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value == "" or (isinstance(value, tuple) and "" in value):
            name = ", ".join(parameter.opts) if parameter.param_type_name == "option" else "IMAGE"
            raise UsageError(f"{name} is empty", hint="is a variable of the shell not set?")


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
        default=DEFAULT_GRAPH,
        show_default=True,
        help="Docker's data root.",
    ),
    option(
        "-s",
        "--storage-driver",
        metavar="NAME",
        default=DEFAULT_DRIVER,
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
