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
from dataclasses import dataclass
from types import FrameType

from migrator.errors import MigratorError
from tests.fuzz.parsers import Files, Parser

SECONDS = 5
"""Of the processor; one that only waits gets ten times as long by the clock."""

MEMORY = 512 << 20
"""Bytes of address space that all inputs may take beyond what is there at the start."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`failed_at` is where it went wrong, equal for inputs that did so in one way."""

    refused: bool = False
    failed_at: str | None = None
    traceback: str = ""


_SIGNALS = (signal.SIGPROF, signal.SIGALRM)


class TooLong(BaseException):
    """An input took more than `SECONDS`; no handler of Exception is to see this."""


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Bound the memory of this process and let `judge` bound time; ends both after."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    # Works from within C functions; what the signal does by itself, ending us, comes after.
    faulthandler.register(signal.SIGVTALRM, sys.__stderr__, all_threads=False, chain=True)
    handlers = [(number, signal.signal(number, _too_long)) for number in _SIGNALS]
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGVTALRM)
        for number, handler in handlers:
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def judge(parser: Parser, files: Files) -> Verdict:
    """Have the parser take in one input."""
    _allow(SECONDS)
    try:
        parser.run(files)
    except MigratorError:
        return Verdict(refused=True)
    except (Exception, TooLong) as error:
        _allow(0)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} {frame.filename}:{frame.lineno}"
        return Verdict(failed_at=place, traceback=traceback.format_exc(limit=-8))
    finally:
        _allow(0)
    return Verdict()


def _allow(seconds: float) -> None:
    """Let what follows take so long; 0 for any time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_VIRTUAL, 6 * seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong
