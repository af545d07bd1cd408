"""What is wrong in a store: found by whoever reads it, one at a time, each kept once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migrator.errors import FormatError, Subject


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    `about` and `name` say which layer (by chainID), image, tag or container;
    `path` is the file concerned, relative to the data root.
    """

    about: Subject
    name: str
    path: str
    reason: str

    def __str__(self) -> str:
        where = f" ({self.path})" if self.path and self.path != self.name else ""
        return f"{self.about} {self.name}{where}: {self.reason}"


class Findings:
    """Collects faults, each once, in the order in which they are found."""

    def __init__(self, faults: Iterable[Finding] = ()) -> None:
        self._faults = dict.fromkeys(faults)

    def add(self, about: Subject, name: str, path: str, reason: str) -> None:
        self._faults[Finding(about, name, path, reason)] = None

    def include(self, faults: Iterable[Finding]) -> None:
        self._faults |= dict.fromkeys(faults)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._faults)

    @contextmanager
    def noting(self, about: Subject, name: str, path: str) -> Iterator[None]:
        """Make a fault of a FormatError that is raised inside."""
        try:
            yield
        except FormatError as error:
            self.add(about, name, path, error.message)
