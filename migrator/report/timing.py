"""Where the time of a run went: how busy the workers were, and who kept them waiting."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from migrator.layer.load import Load
from migrator.report.model import NAMED_HOSTS, Speed


class Timings:
    """Seconds by phase, in the order in which the phases began."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done inside as the phase `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())


class Timed(Protocol):
    """A layer's part in the hashing phase; times in seconds, `begun` since its beginning."""

    @property
    def v1_id(self) -> str: ...
    @property
    def tar_bytes(self) -> int: ...
    @property
    def files(self) -> int: ...
    @property
    def begun(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def worker(self) -> int: ...
    @property
    def method(self) -> str: ...


@dataclass(frozen=True, slots=True)
class HashingTime:
    """The hashing phase, looked at afterwards.

    `utilisation` is the part of all workers' time that they worked. The layer
    `last` was the last one to be ready, and kept the others waiting for
    `alone` seconds. `expected` is what the model says of this host, and
    `elsewhere` of named hosts, in seconds.
    """

    utilisation: float
    last: str
    alone: float
    expected: float
    elsewhere: dict[str, float]

    @classmethod
    def of(cls, layers: Sequence[Timed], workers: int, seconds: float, speed: Speed) -> HashingTime:
        """`layers`, of which there is at least one, took `seconds` in all."""
        ends: dict[int, float] = {}
        for layer in layers:
            ends[layer.worker] = max(ends.get(layer.worker, 0.0), layer.begun + layer.seconds)
        last = max(layers, key=lambda layer: layer.begun + layer.seconds)
        others = [end for worker, end in ends.items() if worker != last.worker]
        loads = [Load(each.tar_bytes, each.files, each.method == "recomputed") for each in layers]
        return cls(
            utilisation=min(1.0, sum(layer.seconds for layer in layers) / (workers * seconds)),
            last=last.v1_id,
            alone=max(0.0, ends[last.worker] - max(others, default=0.0)) if others else 0.0,
            expected=speed.seconds(loads, workers),
            elsewhere={
                host.name: host.speed.seconds(loads, host.speed.cpus) for host in NAMED_HOSTS
            },
        )

    def as_json(self) -> dict[str, Any]:
        """The record as the README describes it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def lines(self) -> Iterator[str]:
        """A line each for the closing report."""
        yield f"  workers     {self.utilisation:.0%} busy; {self.last[:12]} was the last layer" + (
            f", others waited {self.alone:.2f} s for it" if self.alone >= 0.01 else ""
        )
        yield f"  hashing     {self.expected:.2f} s were to be expected here"
