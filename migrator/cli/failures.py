"""The one place where an error becomes a message: for people, or as a JSON line."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from migrator.cli.place import Place
from migrator.errors import Interrupted, MigratorError, ReportError
from migrator.progress import print_event
from migrator.report.document import error_as_json, failure
from migrator.report.writing import write_report
from migrator.text import printable

_Handler = Callable[[int, FrameType | None], object]

# What is to be said of a command that was interrupted.
_INTERRUPTED = {
    "migrate": "what was done is kept: run the same command again to go on, or `migrator rollback`",
    "checksums": "what was done is kept: run the same command again to go on,"
    " or `migrator checksums --undo`",
    "rollback": "run the same command again to go on",
}
_NOTHING_CHANGED = "nothing was changed"


def tell(error: MigratorError, *, as_json: bool = False) -> int:
    """Say on standard error what happened and what to do; returns the exit code."""
    if as_json:
        described = error_as_json(error)
        print_event(sys.stderr, "error", **described, exit_code=int(error.exit_code))
        return error.exit_code
    what, *details = error.lines()
    print(printable(f"migrator: {what}"), file=sys.stderr)
    for line in details:
        print(f"  {printable(line)}", file=sys.stderr)
    if error.hint:
        print(printable(f"migrator: {error.hint}"), file=sys.stderr)
    return error.exit_code


def tell_failure(error: MigratorError, place: Place) -> int:
    """Tell what ended a command, also in its report; returns the exit code."""
    if isinstance(error, Interrupted) and not error.hint:
        error.hint = _INTERRUPTED.get(place.command, _NOTHING_CHANGED)
    error.hint = place.completed(error.hint)
    tell(error, as_json=place.tells_json)
    if place.report is not None and not isinstance(error, ReportError):
        try:
            write_report(place.report, failure(place.command, place.graph, error))
        except ReportError as second:
            tell(second, as_json=place.tells_json)
    return error.exit_code


def interrupted(by: str = "") -> Interrupted:
    """The error for a run that was stopped by the user, or by a signal of that name."""
    return Interrupted(f"stopped by {by}" if by else "interrupted")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While this lasts, SIGINT and SIGTERM end what is done inside in an orderly way."""
    handlers: dict[signal.Signals, _Handler] = {signal.SIGTERM: _on_signal}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        handlers[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_signal(number: int, frame: FrameType | None) -> NoReturn:
    raise interrupted(signal.Signals(number).name)
