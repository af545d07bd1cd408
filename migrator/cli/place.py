"""What a command was told about where and how to work, and commands for the same place."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from migrator.errors import Problem
from migrator.progress import Progress, make_progress

DEFAULT_GRAPH = "/var/lib/docker"
DEFAULT_DRIVER = "auto"

# How texts name a command of ours: `migrator COMMAND OPTIONS`, in backquotes.
_COMMAND = re.compile(r"`migrator ([a-z]+)((?: [^`]*)?)`")


@dataclass(frozen=True, slots=True)
class Place:
    """Which data root a command is about; `report` is where a JSON report goes."""

    command: str
    graph: Path
    storage_driver: str
    storage_opts: tuple[str, ...]
    work_dir: Path | None
    quiet: bool

    @property
    def report(self) -> Path | None:
        """The file to write a JSON report to."""
        return None

    @property
    def tells_json(self) -> bool:
        """Whether all that is said on standard error is to be JSON lines."""
        return False

    def completed(self, text: str) -> str:
        """`text` with commands that can be pasted: they get the options that say where.

        A command is written as `migrator.errors` says. Options that it names itself stay.
        """
        return _COMMAND.sub(self._complete, text)

    def completed_all(self, problems: Iterable[Problem]) -> list[Problem]:
        """The same for the hints of problems."""
        return [replace(problem, hint=self.completed(problem.hint)) for problem in problems]

    def _complete(self, found: re.Match[str]) -> str:
        command, own = found.groups()
        named = own.split()
        added = (f" {name} {value}" for name, value in self._options() if name not in named)
        return f"`migrator {command}{''.join(added)}{own}`"

    def _options(self) -> Iterator[tuple[str, str]]:
        """Options that lead another command to the same place, each with its quoted value."""
        # What is the default here is not where the command is pasted, if the environment says so.
        if str(self.graph) != DEFAULT_GRAPH or os.environ.get("MIGRATOR_GRAPH"):
            yield "-g", shlex.quote(str(self.graph.absolute()))
        if self.storage_driver != DEFAULT_DRIVER or os.environ.get("MIGRATOR_STORAGE_DRIVER"):
            yield "-s", shlex.quote(self.storage_driver)
        for text in self.storage_opts:
            yield "--storage-opt", shlex.quote(text)
        if self.work_dir is not None:
            yield "--work-dir", shlex.quote(str(self.work_dir.absolute()))


@dataclass(frozen=True, slots=True)
class Work(Place):
    """The same, and how to work on it."""

    workers: int | None
    progress_way: str
    report_path: Path | None
    verbose: bool

    @property
    def report(self) -> Path | None:
        return self.report_path

    @property
    def tells_json(self) -> bool:
        return self.progress_way == "json"

    def progress(self) -> Progress:
        """What `--progress` and `--quiet` ask for."""
        return make_progress("none" if self.quiet else self.progress_way)
