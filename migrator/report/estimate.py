"""How long hashing will take on this host: a quick calibration and a small model."""

from __future__ import annotations

import hashlib
import time

# Bytes hashed, and how often, to see what a core does; some 30 ms in all.
_SAMPLE = bytes(8 << 20)
_TRIES = 3

# What reading and checking small files leaves of the hash's own speed, measured
# on stores of distributions' images (20 to 30 kB a file).
_EFFICIENCY = 0.6

# Seconds for a layer however small: its task, its record, its directory.
_PER_LAYER = 0.002


def core_rate() -> float:
    """Bytes a second that one core hashes with SHA-256, the best of a few tries."""
    best = 0.0
    for _ in range(_TRIES):
        begun = time.perf_counter()
        hashlib.sha256(_SAMPLE).digest()
        best = max(best, len(_SAMPLE) / (time.perf_counter() - begun))
    return best


def hashing_seconds(sizes: list[int], workers: int, rate: float) -> float:
    """Seconds for layers of these sizes (bytes) at `rate` a core.

    No worker helps another with its layer, so the largest one is a lower bound.
    """
    costs = [size / (rate * _EFFICIENCY) + _PER_LAYER for size in sizes]
    return max(sum(costs) / workers, max(costs, default=0.0))
