"""What this host can do at best, whoever does it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3
from fastcrc import crc64

from bench.measuring import drop_caches, timed

DIGESTS: dict[str, Callable[[memoryview], object]] = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "blake3": lambda data: blake3(data).digest(),
    "crc64": crc64.go_iso,
}
_HOT = 256 << 10


def digest_rate(name: str, size: int = _HOT, seconds: float = 0.3) -> float:
    """Bytes a second that one core digests of a hot buffer of `size` bytes."""
    digest = DIGESTS[name]
    data = memoryview(bytearray(os.urandom(size)))
    rounds = max(1, (1 << 20) // size)
    done = 0
    begun = time.perf_counter()
    while (took := time.perf_counter() - begun) < seconds:
        for _ in range(rounds):
            digest(data)
        done += rounds * size
    return done / took


def digest_rate_of_all(name: str, cpus: int, size: int = _HOT, seconds: float = 0.3) -> float:
    """The same for `cpus` processes at once, summed."""
    with multiprocessing.get_context("fork").Pool(cpus) as pool:
        return sum(pool.starmap(digest_rate, [(name, size, seconds)] * cpus, chunksize=1))


def tar_rate(trees: Path, size: int, *, cold: bool) -> float | None:
    """Bytes a second of `tar cf - | cat` over the layers' files, which have `size` bytes in all.

    None when the cache cannot be emptied.
    """
    if cold and not drop_caches():
        return None
    return size / timed(f"tar cf - -C '{trees}' . | cat >/dev/null").seconds


def trees_of(root: Path, driver: str) -> Path:
    """Where a store's layers are."""
    return root / "aufs" / "diff" if driver == "aufs" else root / driver


def size_of(root: Path) -> int:
    """Bytes of all files' content, each once."""
    seen: set[int] = set()
    total = 0
    for directory, _, names in os.walk(root):
        for name in names:
            status = os.lstat(os.path.join(directory, name))
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_size
    return total


def wall(action: Callable[[], None]) -> float:
    """Seconds that `action` takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun
