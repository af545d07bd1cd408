"""What a conversion to another storage driver built, for the closing summary and the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from migrator.conversion.building import TreeResult
from migrator.text import count, quantity


@dataclass(frozen=True, slots=True)
class Conversion:
    """Layers' directories built and kept, and what came into those that were built.

    `files` are all but directories and whiteouts; `linked`, `reflinked` and
    `copied` are bytes of their content; `seconds` is what the phase took.
    """

    target: str
    built: int
    kept: int
    files: int
    directories: int
    whiteouts: int
    linked: int
    reflinked: int
    copied: int
    seconds: float

    @classmethod
    def of(cls, target: str, trees: Iterable[TreeResult], seconds: float) -> Conversion:
        """Sum up what was built for the driver `target`."""
        trees = list(trees)
        built = [tree.built for tree in trees if tree.built is not None]
        return cls(
            target=target,
            built=len(built),
            kept=len(trees) - len(built),
            files=sum(each.files for each in built),
            directories=sum(each.directories for each in built),
            whiteouts=sum(each.whiteouts for each in built),
            linked=sum(each.linked for each in built),
            reflinked=sum(each.reflinked for each in built),
            copied=sum(each.copied for each in built),
            seconds=seconds,
        )

    @property
    def entries(self) -> int:
        """Files, directories and whiteouts."""
        return self.files + self.directories + self.whiteouts

    def as_json(self) -> dict[str, Any]:
        """The record as the README describes it."""
        rate = self.entries / self.seconds if self.seconds else None
        return {**asdict(self), "entries_per_second": rate}

    def lines(self) -> Iterator[str]:
        """A line each for the closing report."""
        rate = f", {self.entries / self.seconds:.0f} a second" if self.seconds else ""
        yield (
            f"  built       {_directories(self.built)} for {self.target}:"
            f" {count(self.files, 'file')}, {_directories(self.directories)},"
            f" {count(self.whiteouts, 'whiteout')} in {self.seconds:.2f} s{rate}"
        )
        yield (
            f"              {quantity(self.linked)} hard-linked, {quantity(self.reflinked)}"
            f" reflinked, {quantity(self.copied)} copied"
        )
        if self.kept:
            yield f"  kept        {_directories(self.kept)} built by an earlier run"


def _directories(number: int) -> str:
    return count(number, "directory", "directories")
