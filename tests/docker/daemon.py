"""A Docker daemon of our own: private directories and socket, started and stopped by a test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

# Debian's docker and dockerd, whatever else is installed.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")},
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}

_DEADLINE = 60.0

# What it says when its own containerd, which gets the same signal, ends before it.
_WHILE_ENDING = "transport is closing"

# And while that is still starting, on a busy machine: it is tried again.
_WHILE_STARTING = "connecting to containerd"


class Daemon:
    """`dockerd` on `data_root`; a context manager that can be entered again.

    Without `driver` it takes the storage driver that it finds there.
    """

    def __init__(self, data_root: Path, driver: str = "") -> None:
        self.data_root = data_root
        self.driver = driver
        self._directory = Path(tempfile.mkdtemp(prefix="dockerd-"))
        self.socket = self._directory / "socket"
        self.host = f"unix://{self.socket}"
        self.pidfile = self._directory / "pid"
        self._log = self._directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """How it is started."""
        return [
            "dockerd",
            *("--data-root", str(self.data_root)),
            *("--exec-root", str(self._directory / "exec")),
            *("--pidfile", str(self.pidfile)),
            *("--host", self.host),
            *(("--storage-driver", self.driver) if self.driver else ()),
            *("--iptables=false", "--ip6tables=false", "--bridge=none"),
        ]

    def __enter__(self) -> Daemon:
        with self._log.open("ab") as log:
            # It must not outlive the tests, however they end.
            command = ["setpriv", "--pdeathsig", "TERM", *self.command]
            # Where containerd writes its stacks when it is ended for being too slow.
            env = {**ENVIRONMENT, "TMPDIR": str(self._directory)}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        poll(lambda: self.answers() or self._process.poll() is not None, "the daemon's start")
        if self._process.poll() is not None:
            raise AssertionError(f"dockerd ended:\n{self.log}")
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def remove(self) -> None:
        """Take away what it left outside of its data root, and mounts in it."""
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            point = line.split()[4]
            if point.startswith((f"{self._directory}/", f"{self.data_root}/")):
                subprocess.run(["umount", "--lazy", point], check=True)
        shutil.rmtree(self._directory)

    def answers(self) -> bool:
        """Whether its socket is served."""
        return self.run("version", check=False).returncode == 0

    def run(
        self,
        *arguments: str | Path,
        check: bool = True,
        stdin: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """`docker ARGUMENTS`, with the variables `env` besides the usual."""
        with contextlib.ExitStack() as stack:
            source: Any = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            run = subprocess.run(
                ["docker", "--host", self.host, *map(str, arguments)],
                stdin=source,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                env={**ENVIRONMENT, **(env or {})},
                check=False,
                timeout=300,
            )
        if check and run.returncode:
            raise AssertionError(f"docker {arguments} ended with {run.returncode}: {run.stderr}")
        return run

    def docker(self, *arguments: str | Path) -> str:
        """What `docker ARGUMENTS` prints, without the last newline."""
        return self.run(*arguments).stdout.removesuffix("\n")

    def inspect(self, kind: str, *names: str) -> list[dict[str, Any]]:
        """`docker KIND inspect NAMES`."""
        found: list[dict[str, Any]] = json.loads(self.docker(kind, "inspect", *names))
        return found

    def table(self, *arguments: str) -> list[dict[str, str]]:
        """The rows of a `docker` command that takes a format, whole IDs and all."""
        lines = self.docker(*arguments, "--no-trunc", "--format", "{{json .}}").splitlines()
        return [json.loads(line) for line in lines]

    @property
    def log(self) -> str:
        """All that it ever said."""
        return self._log.read_text("utf-8", "replace")

    def errors(self, *, besides: Iterable[str] = ()) -> list[str]:
        """Lines of its log that are errors, but for those that name one of `besides`."""
        lines = re.findall(r"^.*\blevel=(?:error|fatal|panic)\b.*$", self.log, re.MULTILINE)
        known = (_WHILE_ENDING, _WHILE_STARTING, *besides)
        return [line for line in lines if not any(name in line for name in known)]


def poll(condition: Callable[[], Any], what: str, deadline: float = _DEADLINE) -> None:
    """Wait until `condition` holds; AssertionError after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:.0f} s in vain for {what}")
        time.sleep(0.02)
