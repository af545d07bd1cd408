"""A run of a command: its settings, and the clock that runs along."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from migrator.progress import Progress
from migrator.report.summary import Outcome, Summary
from migrator.report.timing import Timings
from migrator.system.host import Host, default_workers


@dataclass(frozen=True, slots=True)
class Run:
    """How many worker processes there are to be (0: none but this one), and who is told."""

    workers: int
    progress: Progress
    timings: Timings = field(default_factory=Timings)

    @classmethod
    def of(cls, workers: int | None, progress: Progress | None) -> Run:
        """With what was not said: the CPUs that this process may use, and silence."""
        count = default_workers() if workers is None else workers
        return cls(count, progress or Progress())

    @contextlib.contextmanager
    def phase(self, name: str, title: str = "") -> Iterator[None]:
        """Time what is done inside as the phase `name`, told as `title`."""
        with self.timings.phase(name):
            if title:
                self.progress.phase(title)
            yield

    def summary(self, command: str, data_root: Path, outcome: Outcome) -> Summary:
        """What there is to say of it at the end."""
        host = Host.here(data_root)
        return Summary.of(command, str(data_root), host, self.workers, self.timings, outcome)
