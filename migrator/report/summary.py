"""What a run did and how long it took: for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from migrator.conversion.carrying import Carried
from migrator.errors import ExitCode, MigratorError, Problem, Subject
from migrator.migration.hashing import Hashed
from migrator.migration.rewriting import Rewritten
from migrator.report.conversion import Conversion
from migrator.report.document import head
from migrator.report.model import Speed
from migrator.report.problems import problem_lines, problems_as_json
from migrator.report.timing import HashingTime, Timings
from migrator.system.host import Host
from migrator.text import count, printable, quantity


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer's line in the report; `chain_id` is None when its image was not migrated.

    `begun` is in seconds since hashing began, `seconds` what hashing it took.
    """

    v1_id: str
    diff_id: str
    chain_id: str | None
    size: int
    tar_bytes: int
    files: int
    begun: float
    seconds: float
    worker: int
    method: str
    kept: bool
    fault: str | None

    def as_json(self) -> dict[str, Any]:
        """The record as the README describes it."""
        fault = None if self.fault is None else printable(self.fault)
        return {**asdict(self), "fault": fault}


@dataclass(frozen=True, slots=True)
class Counts:
    """How much was migrated.

    `layers_new` and `duplicates` count the layers registered and those that
    turned out to be the same as one of them.
    """

    images: int = 0
    distinct_images: int = 0
    layers_new: int = 0
    duplicates: int = 0
    tags: int = 0
    containers: int = 0

    @classmethod
    def of_legacy(cls, rewritten: Rewritten) -> Counts:
        """What came of a legacy store."""
        return cls(
            images=len(rewritten.images),
            distinct_images=len(set(rewritten.images.values())),
            layers_new=rewritten.layers,
            duplicates=rewritten.duplicates,
            tags=rewritten.tags,
            containers=rewritten.containers,
        )

    @classmethod
    def of_stored(cls, carried: Carried) -> Counts:
        """What came of another driver's store."""
        images, layers = carried.images, carried.layers
        return cls(images, images, layers, 0, carried.tags, carried.containers)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True))
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run on the store of `driver`; `nothing_to_do` says why nothing was done."""

    driver: str
    problems: Sequence[Problem]
    counts: Counts = Counts()
    layers: Sequence[LayerRow] = ()
    nothing_to_do: str | None = None
    conversion: Conversion | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of `migrate` or `checksums`: fields as in `Counts` and `Outcome`."""

    command: str
    data_root: str
    driver: str
    host: Host
    workers: int
    timings: Timings
    images: int = 0
    distinct_images: int = 0
    layers_new: int = 0
    duplicates: int = 0
    tags: int = 0
    containers: int = 0
    nothing_to_do: str | None = None
    conversion: Conversion | None = None
    layers: Sequence[LayerRow] = ()
    problems: Sequence[Problem] = ()

    @classmethod
    def of(
        cls,
        command: str,
        data_root: str,
        host: Host,
        workers: int,
        timings: Timings,
        outcome: Outcome,
    ) -> Summary:
        """Sum up a run."""
        return cls(
            command=command,
            data_root=data_root,
            driver=outcome.driver,
            host=host,
            workers=workers,
            timings=timings,
            **asdict(outcome.counts),
            nothing_to_do=outcome.nothing_to_do,
            conversion=outcome.conversion,
            layers=list(outcome.layers),
            problems=list(outcome.problems),
        )

    @property
    def exit_code(self) -> ExitCode:
        """3 when something was left out, else 0."""
        if any(problem.fatal for problem in self.problems):
            return ExitCode.PARTIAL
        return ExitCode.OK

    @property
    def bytes(self) -> int:
        """Tar bytes hashed in this run."""
        return sum(layer.tar_bytes for layer in self.layers if not layer.kept)

    @property
    def hashing_time(self) -> HashingTime | None:
        """Where the time of the hashing phase went; None when nothing was hashed.

        Measures this host, once in a run.
        """
        seconds = self.timings.seconds.get("hash", 0.0)
        hashed = [layer for layer in self.layers if not layer.kept]
        if not hashed or not seconds:
            return None
        workers = max(1, min(self.workers, len(hashed)))
        return HashingTime.of(hashed, workers, seconds, Speed.here(self.host.cpus))

    def as_json(self) -> dict[str, Any]:
        """The document that `--report` writes."""
        hashing_time = self.hashing_time
        hashing = self.timings.seconds.get("hash", 0.0)
        return {
            **head(self.command, self.data_root),
            "driver": self.driver,
            "target_driver": None if self.conversion is None else self.conversion.target,
            "exit_code": int(self.exit_code),
            "nothing_to_do": self.nothing_to_do,
            "host": self.host.as_json(),
            "workers": self.workers,
            "images": self.images,
            "distinct_images": self.distinct_images,
            "layers_new": self.layers_new,
            "layers_duplicate": self.duplicates,
            "layers_kept": sum(layer.kept for layer in self.layers),
            "tags": self.tags,
            "containers": self.containers,
            "bytes": self.bytes,
            "seconds": self.timings.total,
            "bytes_per_second": self.bytes / hashing if hashing else None,
            "phases": self.timings.seconds,
            "conversion": None if self.conversion is None else self.conversion.as_json(),
            "hashing": None if hashing_time is None else hashing_time.as_json(),
            "layers": [layer.as_json() for layer in self.layers],
            "problems": problems_as_json(self.problems),
        }

    def lines(self) -> Iterator[str]:
        """The closing summary, a line each, safe to print on a terminal."""
        where = f"{printable(self.data_root)} (driver {self.driver})"
        if self.nothing_to_do is not None:
            yield f"{where}: {self.nothing_to_do}"
            yield from problem_lines(self.problems)
            return
        if self.command == "checksums":
            yield f"Hashed the layers of {where}"
        else:
            yield f"Migrated {where}" + (
                "" if self.conversion is None else f" to {self.conversion.target}"
            )
            yield f"  images      {self.images} migrated, {self.distinct_images} distinct"
            duplicates = count(self.duplicates, "duplicate")
            yield f"  layers      {self.layers_new} registered, {duplicates} found"
            yield f"  tags        {self.tags}"
            yield f"  containers  {self.containers}"
        if self.conversion is not None:
            yield from self.conversion.lines()
        if self.layers:
            yield from self._hashing_lines()
        phases = ", ".join(f"{name} {took:.2f} s" for name, took in self.timings.seconds.items())
        yield f"  time        {self.timings.total:.2f} s ({phases})"
        yield from problem_lines(self.problems)

    def _hashing_lines(self) -> Iterator[str]:
        hashing = self.timings.seconds.get("hash", 0.0)
        hashed = [layer for layer in self.layers if not layer.kept]
        kept = len(self.layers) - len(hashed)
        rate = f", {self.bytes / hashing / 1e6:.0f} MB/s" if hashing > 0 else ""
        yield (
            f"  hashed      {count(len(hashed), 'layer')}, {quantity(self.bytes)},"
            f" {count(sum(layer.files for layer in hashed), 'file')}"
            f" in {hashing:.2f} s with {count(self.workers, 'worker')}{rate}"
        )
        hashing_time = self.hashing_time
        if hashing_time is not None:
            yield from hashing_time.lines()
        if kept:
            yield f"  kept        {count(kept, 'layer')} hashed by an earlier run"
        remade = [layer for layer in self.layers if layer.method == "recomputed"]
        if remade:
            yield f"  recomputed  {count(len(remade), 'layer')} without a usable tar-split record"


def layer_rows(hashed: Hashed, chains: Mapping[str, str]) -> list[LayerRow]:
    """A report row for every hashed layer, by v1 ID."""
    return [
        LayerRow(
            v1_id=v1_id,
            diff_id=layer.digest.diff_id,
            chain_id=chains.get(v1_id),
            size=layer.digest.size,
            tar_bytes=layer.digest.tar_bytes,
            files=layer.digest.files,
            begun=hashed.begun[v1_id],
            seconds=layer.seconds,
            worker=hashed.workers[v1_id],
            method=str(layer.method),
            kept=layer.kept,
            fault=layer.fault,
        )
        for v1_id, layer in sorted(hashed.layers.items())
    ]


def failures(hashed: Hashed) -> list[Problem]:
    """A problem for every layer that could not be hashed."""

    def problem(v1_id: str, error: MigratorError) -> Problem:
        return Problem(Subject.LAYER, v1_id, str(error), error.hint)

    return [problem(v1_id, error) for v1_id, error in sorted(hashed.failed.items())]
