"""How long hashing takes: a model of a few numbers, for this host and for others.

A layer costs a worker time per byte, per file, and once, and the process that
hands the layers out some, too, whatever the number of workers. A worker does one
layer at a time, so the largest layer is a lower bound; so is the time in which the
disk delivers all bytes when nothing is cached. `python -m bench hosts` fits the
constants and checks them.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from migrator.layer.load import Load

# Bytes hashed, and how often, to see what a core does; some 20 ms in all.
_SAMPLE = bytes(4 << 20)
_TRIES = 5
# How often a small file is looked at, opened, read and closed for the same purpose.
_OPENINGS = 500


@dataclass(frozen=True, slots=True)
class Costs:
    """What hashing takes, in terms of what `Speed` measures.

    `byte` is the time for a byte as a multiple of hashing it alone, `file` and
    `file_recomputed` (without a record) the time for a file in openings, `layer`
    that for a layer however small, likewise, `handing_out` that of a layer for all
    workers together, and `fixed` seconds for the phase.
    """

    byte: float
    file: float
    file_recomputed: float
    layer: float
    handing_out: float
    fixed: float


# As `python -m bench hosts` fitted them on two cores of an EPYC 9004.
COSTS = Costs(byte=1.25, file=2.3, file_recomputed=6.4, layer=41.0, handing_out=25.5, fixed=0.02)


@dataclass(frozen=True, slots=True)
class Speed:
    """What a host does: SHA-256 bytes a second on a core, seconds to open and read a small file.

    `cpus` are cores; `disk` is in bytes a second, None for files in the page cache.
    """

    hashing: float
    opening: float
    cpus: int
    disk: float | None = None

    @classmethod
    @functools.cache
    def here(cls, cpus: int) -> Speed:
        """This host, measured in some 30 ms of processor time, the best of a few tries."""
        return cls(_hashing_rate(), _opening_time(), cpus)

    def layer_seconds(self, load: Load, costs: Costs = COSTS) -> float:
        """Seconds that one worker takes for a layer."""
        file = costs.file_recomputed if load.recomputed else costs.file
        openings = load.files * file + costs.layer
        return load.size * costs.byte / self.hashing + openings * self.opening

    def seconds(self, loads: Iterable[Load], workers: int, costs: Costs = COSTS) -> float:
        """Seconds of the hashing phase with `workers` workers, the largest layer begun first.

        More workers than `cpus` do not help, none of them is this process itself.
        """
        loads = list(loads)
        busy = [0.0] * max(1, min(workers, self.cpus))
        for load in sorted(loads, key=lambda load: -load.size):
            heapq.heapreplace(busy, busy[0] + self.layer_seconds(load, costs))
        disk = sum(load.size for load in loads) / self.disk if self.disk else 0.0
        handing_out = len(loads) * costs.handing_out * self.opening
        return max(*busy, disk) + handing_out + costs.fixed


@dataclass(frozen=True, slots=True)
class NamedHost:
    """A host that people know, as it is assumed to be."""

    name: str
    speed: Speed
    assumed: str


# Haswell has no SHA instructions; OpenSSL's AVX2 code does some 0.43 GB/s at 3 GHz.
# Time for an opening goes with single-thread speed and with the kernel's mitigations.
NAMED_HOSTS = (
    NamedHost(
        "t2.micro",
        Speed(0.40e9, 9e-6, 1, 65e6),
        "1 vCPU of a Xeon E5-2676 v3, 1 GB, gp2 volume of 65 MB/s, CPU credits left",
    ),
    NamedHost(
        "m4.10xlarge",
        Speed(0.40e9, 9e-6, 40, 500e6),
        "40 vCPU of a Xeon E5-2676 v3, 160 GB, provisioned IOPS: 4 Gbit/s",
    ),
    NamedHost(
        "laptop",
        Speed(2.2e9, 3.5e-6, 8, 5e9),
        "8 fast cores with SHA instructions, 4 GHz, NVMe of 5 GB/s",
    ),
    NamedHost(
        "64-core server",
        Speed(1.8e9, 5e-6, 64, 6e9),
        "64 cores with SHA instructions, 3 GHz, NVMe of 6 GB/s",
    ),
    NamedHost(
        "Raspberry Pi 4",
        Speed(0.17e9, 18e-6, 4, 40e6),
        "4 Cortex-A72 of 1.5 GHz without SHA instructions, microSD card of 40 MB/s",
    ),
)


def _hashing_rate() -> float:
    return max(
        len(_SAMPLE) / _timed(lambda: hashlib.sha256(_SAMPLE).digest()) for _ in range(_TRIES)
    )


def _opening_time() -> float:
    """Seconds for lstat, open, read and close of a small file, this one."""
    path = Path(__file__)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    name = path.name

    def openings() -> None:
        for _ in range(_OPENINGS):
            os.lstat(name, dir_fd=directory)
            fd = os.open(name, os.O_RDONLY, dir_fd=directory)
            os.read(fd, 4096)
            os.close(fd)

    try:
        return min(_timed(openings) for _ in range(_TRIES)) / _OPENINGS
    finally:
        os.close(directory)


def _timed(action: Callable[[], object]) -> float:
    begun = time.thread_time()
    action()
    return time.thread_time() - begun
