"""Where the program begins: signals are looked after first, then all else is imported.

Until a command runs there is nothing to put in order, so that a signal may end the
process at once. `migrator.cli` does better while one runs.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

# `migrator.errors.ExitCode.INTERRUPTED`, which is not imported yet.
_INTERRUPTED = 4


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # In the background a shell has SIGINT ignored, and that is to stay.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)

    from migrator.cli import run

    raise SystemExit(run())


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    # An exception could be swallowed, or shown as a traceback, by whatever is importing.
    os._exit(_INTERRUPTED)
