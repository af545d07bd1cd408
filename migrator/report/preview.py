"""What `migrator plan` shows.

A migration to another storage driver has a preview of its own, with that of
the legacy store in it if that is what it starts from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from migrator.conversion.planning import ConversionPlan
from migrator.errors import ExitCode
from migrator.layer.load import Load
from migrator.migration.plan import Plan, why_nothing_new
from migrator.report.document import head
from migrator.report.model import NAMED_HOSTS, Speed
from migrator.report.problems import problem_lines, problems_as_json
from migrator.system.host import Host, default_workers
from migrator.text import count, printable, quantity, shown


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan and the time it would take here, with files that the page cache holds."""

    plan: Plan
    host: Host
    workers: int
    speed: Speed

    @classmethod
    def of(cls, plan: Plan, workers: int | None) -> Preview:
        """Measure this host for `plan`."""
        host = Host.here(plan.root.path)
        return cls(plan, host, workers or default_workers(), Speed.here(host.cpus))

    @property
    def exit_code(self) -> ExitCode:
        """3 when something would be left out, else 0."""
        left_out = any(problem.fatal for problem in self.plan.problems)
        return ExitCode.PARTIAL if left_out else ExitCode.OK

    @property
    def seconds(self) -> float:
        """Estimated time of the hashing phase."""
        return self._seconds(self._loads())

    @property
    def seconds_recomputed(self) -> float:
        """How much longer it is for the layers whose diff has to be made anew."""
        return self.seconds - self._seconds([x for x in self._loads() if not x.recomputed])

    @property
    def elsewhere(self) -> dict[str, float]:
        """What the hashing phase would take on named hosts."""
        loads = self._loads()
        return {
            host.name: host.speed.seconds(loads, host.speed.cpus) if loads else 0.0
            for host in NAMED_HOSTS
        }

    def _seconds(self, loads: list[Load]) -> float:
        return self.speed.seconds(loads, self.workers) if loads else 0.0

    def _loads(self) -> list[Load]:
        return [Load.estimated(task.size, task.record_size) for task in self.plan.tasks]

    def as_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        plan = self.plan
        return {
            **head("plan", plan.root.path),
            "exit_code": int(self.exit_code),
            "driver": plan.root.driver_name,
            "host": self.host.as_json(),
            "workers": self.workers,
            "already_migrated": plan.nothing_new,
            "images": len(plan.tasks),
            "images_migrated_before": len(plan.migrated),
            "layers_to_hash": len(plan.tasks),
            "layers_with_record": plan.with_record,
            "layers_without_record": len(plan.tasks) - plan.with_record,
            "bytes_to_hash": plan.size,
            "tags": len(plan.references),
            "containers": len(plan.containers),
            "core_bytes_per_second": self.speed.hashing,
            "estimated_seconds": self.seconds,
            "estimated_seconds_without_record": self.seconds_recomputed,
            "estimated_seconds_elsewhere": self.elsewhere,
            "problems": problems_as_json(plan.problems),
        }

    def lines(self, *, verbose: bool = False) -> Iterator[str]:
        """A line each, safe to print on a terminal; when verbose also for every layer to hash."""
        plan = self.plan
        yield printable(f"{plan.root.path} (driver {plan.root.driver_name})")
        if plan.nothing_new:
            yield f"  {why_nothing_new(plan.problems)}"
        yield from self.counts()
        if verbose:
            hosts = (f"{name} {seconds:.1f} s" for name, seconds in self.elsewhere.items())
            yield f"  elsewhere   {', '.join(hosts)}"
            yield from self.layer_lines()
        yield from problem_lines(plan.problems)

    def layer_lines(self) -> Iterator[str]:
        """A line for every layer to hash, in that order, with the names that its image has."""
        names: dict[str, list[str]] = {}
        for reference in self.plan.references:
            names.setdefault(reference.v1_id, []).append(shown(reference.shown))
        for task in self.plan.tasks:
            record = "without record" if task.record is None else "with record"
            named = "".join(f" {name}" for name in sorted(names.get(task.v1_id, ())))
            yield f"  hash {task.v1_id[:12]} {count(task.size, 'byte')} {record}{named}"

    def counts(self) -> Iterator[str]:
        """The lines that say how much there is, and how long it takes."""
        plan = self.plan
        without = len(plan.tasks) - plan.with_record
        yield f"  images      {len(plan.tasks)}"
        yield (
            f"  layers      {len(plan.tasks)} to hash, {plan.with_record} with a tar-split record,"
            f" {without} without"
        )
        if plan.migrated:
            yield f"              {len(plan.migrated)} migrated before"
        yield f"  tags        {len(plan.references)}"
        yield f"  containers  {len(plan.containers)}"
        yield f"  to hash     {quantity(plan.size)}"
        yield (
            f"  estimate    {self.seconds:.1f} s with"
            f" {count(self.workers, 'worker')} ({quantity(self.speed.hashing)}/s a core;"
            " disk speed not counted)"
        )
        if without:
            yield f"              {self.seconds_recomputed:.1f} s of it for layers without a record"


@dataclass(frozen=True, slots=True)
class ConversionPreview:
    """A plan for another storage driver; `hashing` is about the layers to hash before, if any."""

    plan: ConversionPlan
    host: Host
    hashing: Preview | None

    @classmethod
    def of(cls, plan: ConversionPlan, workers: int | None) -> ConversionPreview:
        """Measure this host, where something is to be hashed."""
        legacy = plan.legacy if plan.legacy is not None and plan.legacy.tasks else None
        hashing = None if legacy is None else Preview.of(legacy, workers)
        return cls(plan, Host.here(plan.root.path), hashing)

    @property
    def nothing_to_do(self) -> str | None:
        """Why, in a sentence."""
        return self.plan.nothing_to_do

    @property
    def exit_code(self) -> ExitCode:
        """3 when something would be left out, else 0."""
        left_out = any(problem.fatal for problem in self.plan.problems)
        return ExitCode.PARTIAL if left_out else ExitCode.OK

    def as_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        plan = self.plan
        return {
            **head("plan", plan.root.path),
            "exit_code": int(self.exit_code),
            "driver": plan.driver,
            "target_driver": plan.target,
            "host": self.host.as_json(),
            "nothing_to_do": self.nothing_to_do,
            "images": plan.images,
            "layers_to_build": plan.layers,
            "bytes_to_build": plan.size,
            "way": str(plan.transfer.value),
            "bytes_needed": plan.need.size,
            "files_needed": plan.need.files,
            "tags": plan.tags,
            "containers": plan.containers,
            "legacy": None if self.hashing is None else self.hashing.as_json(),
            "problems": problems_as_json(plan.problems),
        }

    def lines(self, *, verbose: bool = False) -> Iterator[str]:
        """A line each, safe to print on a terminal; when verbose also for every layer."""
        plan = self.plan
        yield printable(f"{plan.root.path} (driver {plan.driver}) to {plan.target}")
        if self.nothing_to_do is not None:
            yield f"  {self.nothing_to_do}"
        elif self.hashing is not None:
            yield from self.hashing.counts()
        else:
            yield f"  images      {plan.images}"
            yield f"  tags        {plan.tags}"
            yield f"  containers  {plan.containers}"
        if self.nothing_to_do is None:
            copied = count(plan.containers, "container is", "containers are")
            yield (
                f"  to build    {count(plan.layers, 'layer')} with {quantity(plan.size)}"
                f" by {plan.transfer.value}; {copied} copied"
            )
            yield (
                f"  space       about {quantity(plan.need.size)} in"
                f" {count(plan.need.files, 'file')}, and what the containers have written"
            )
        if verbose:
            yield from self._layer_lines()
        yield from problem_lines(plan.problems)

    def _layer_lines(self) -> Iterator[str]:
        if self.hashing is not None:
            yield from self.hashing.layer_lines()
        for layer, size in self.plan.to_build:
            name = layer.removeprefix("sha256:")[:12]
            yield f"  build {name} {count(size, 'byte')}"
