"""Running the command line as a user does, and looking at what it left."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any

from legacy_fixtures.dump_store import dump as dump_store
from migrator import cli

SECONDS = 300
"""What hangs is ended then, and has failed."""

_CRASHED = 70


def migrator(
    *arguments: str | Path,
    env: dict[str, str] | None = None,
    wrapper: tuple[str, ...] = (),
    memory: int = 0,
) -> CompletedProcess[str]:
    """Run `migrator ARGUMENTS`; `wrapper` is a command to run it under.

    Without one it runs in a fork of the test, which spares it the start of an
    interpreter. `memory`: bytes of address space that it may take beyond what
    the test has.
    """
    if wrapper:
        return process(*arguments, env=env, wrapper=wrapper)
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if not pid:
            _run(words, env or {}, memory, (output.fileno(), errors.fileno()))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return CompletedProcess(words, code, _text(output), _text(errors))


def process(
    *arguments: str | Path, env: dict[str, str] | None = None, wrapper: tuple[str, ...] = ()
) -> CompletedProcess[str]:
    """The same in a process of its own, for what concerns the start, or what wraps it."""
    return subprocess.run(
        [*wrapper, sys.executable, "-m", "migrator", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=False,
        timeout=SECONDS,
    )


def _run(arguments: list[str], env: dict[str, str], memory: int, fds: tuple[int, int]) -> None:
    """Never returns."""
    code = _CRASHED
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        # The test's own objects are nothing that this process would have to look through.
        gc.freeze()
        os.environ.update(env)
        tempfile.tempdir = None
        sys.stdout, sys.stderr = (_redirect(own, fd) for own, fd in zip((1, 2), fds, strict=True))
        if memory:
            _limit(memory)
        code = cli.run(arguments)
    except BaseException:
        os.write(fds[1], traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)


def _redirect(own: int, fd: int) -> IO[str]:
    os.dup2(fd, own)
    return open(own, "w", encoding="utf-8", closefd=False)


def _limit(memory: int) -> None:
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode("utf-8")


def dump(root: Path, driver: str) -> dict[str, Any]:
    """The new store below `root`, as the golden files show it."""
    result: dict[str, Any] = json.loads(json.dumps(dump_store(str(root), driver)))
    return result


def snapshot(root: Path, *, without: tuple[str, ...] = ()) -> dict[str, tuple[object, ...]]:
    """Everything below `root` by relative path: mode, owner, mtime of files, content.

    Directories' mtimes are not in it: adding a file beside others changes them.
    `without` names top-level entries to leave out.
    """
    found: dict[str, tuple[object, ...]] = {}
    for directory, subdirectories, files in os.walk(os.fsencode(root)):
        for name in subdirectories + files:
            path = os.path.join(directory, name)
            relative = os.fsdecode(os.path.relpath(path, os.fsencode(root)))
            if relative.split("/")[0] in without:
                continue
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            mtime = None if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
            found[relative] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_rdev,
                mtime,
                content,
            )
    return found
