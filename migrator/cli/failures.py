"""The one place where an error becomes a message: for people, or as a JSON line."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

from migrator.errors import Interrupted, MigratorError
from migrator.progress import print_event
from migrator.text import printable

_GO_ON = "what was done is kept: run the same command again to go on, or `migrator rollback`"


def tell(error: MigratorError, *, as_json: bool = False) -> int:
    """Say on standard error what happened and what to do; returns the exit code."""
    if as_json:
        print_event(
            sys.stderr,
            "error",
            message=printable(str(error)),
            hint=printable(error.hint),
            exit_code=int(error.exit_code),
        )
        return error.exit_code
    print(printable(f"migrator: {error}"), file=sys.stderr)
    if error.hint:
        print(printable(f"migrator: {error.hint}"), file=sys.stderr)
    return error.exit_code


def interrupted(by: str = "") -> Interrupted:
    """The error for a run that was stopped by the user, or by a signal of that name."""
    return Interrupted(f"stopped by {by}" if by else "interrupted", hint=_GO_ON)


def on_signal(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler that ends the run in an orderly way."""
    raise interrupted(signal.Signals(number).name)
