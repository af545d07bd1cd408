"""Running one input and judging what comes of it.

A finding is any exception but ours, more than some seconds, or more memory
than a small input can need. What hangs inside a C function sees no signal: the
process is ended then, with the input's name on standard error.
"""

from __future__ import annotations

import contextlib
import faulthandler
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from types import FrameType

from migrator.errors import MigratorError
from tests.fuzz.parsers import Files, Parser

SECONDS = 5
MEMORY = 512 << 20
"""Bytes of address space that all inputs may take beyond what is there at the start."""


class TooLong(BaseException):
    """An input took more than `SECONDS`; no handler of Exception is to see this."""


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Bound the memory of this process and let `judge` bound time; ends both after."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    handler = signal.signal(signal.SIGALRM, _too_long)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def judge(parser: Parser, files: Files) -> str | None:
    """None when the parser took the input or refused it properly; else the traceback."""
    faulthandler.dump_traceback_later(6 * SECONDS, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        parser.run(files)
    except MigratorError:
        return None
    except (Exception, TooLong):
        signal.setitimer(signal.ITIMER_REAL, 0)
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    return None


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong
