"""Running the command line in a fork of the test: many runs, each under limits, in little time."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from migrator import cli

SECONDS = 60
"""What hangs is ended then, and has failed."""

MEMORY = 1 << 30
"""Bytes of address space that a run may take beyond what the test has."""

_CRASHED = 70


@dataclass(frozen=True, slots=True)
class Run:
    """The exit code (minus a signal's number), and both outputs together."""

    code: int
    output: str


def run_forked(*arguments: str | Path) -> Run:
    """Run `migrator ARGUMENTS`; whatever it met, it told in plain text, in bounded time."""
    with tempfile.TemporaryFile() as output:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            _run([str(argument) for argument in arguments], output.fileno())
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        text = output.read().decode("utf-8", "surrogateescape")
    done = Run(os.waitstatus_to_exitcode(status), text)
    assert done.code in (0, 1, 3), (arguments, done.code, text[-3000:])
    assert all(line.isprintable() for line in text.split("\n"))
    return done


def _run(arguments: list[str], output: int) -> None:
    """Never returns."""
    code = _CRASHED
    try:
        signal.alarm(SECONDS)
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        for fd in (1, 2):
            os.dup2(output, fd)
        sys.stdout, sys.stderr = (os.fdopen(fd, "w", closefd=False) for fd in (1, 2))
        code = cli.run(arguments)
    except BaseException:
        os.write(output, traceback.format_exc().encode("utf-8", "surrogateescape"))
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
