"""SHA-256, BLAKE3 and CRC-64 on this host: a core and all of them, by size."""

from __future__ import annotations

from pathlib import Path

from bench.limits import DIGESTS, digest_rate, digest_rate_of_all
from bench.output import curves, table, write

SIZES = (64, 512, 4096, 32 << 10, 256 << 10, 2 << 20, 16 << 20)


def measure(cpus: int, seconds: float) -> dict[str, dict[int, tuple[float, float]]]:
    """Bytes a second by digest and size: of one core, and of `cpus` at once."""
    return {
        name: {
            size: (
                digest_rate(name, size, seconds),
                digest_rate_of_all(name, cpus, size, seconds),
            )
            for size in SIZES
        }
        for name in DIGESTS
    }


def write_digests(
    results: Path, rates: dict[str, dict[int, tuple[float, float]]], cpus: int
) -> None:
    """`digests.json`, `digests.md` and a plot."""
    rows = [
        [size, *(f"{rate / 1e6:.0f}" for name in rates for rate in rates[name][size])]
        for size in SIZES
    ]
    head = ["bytes", *(f"{name}, {n} cores" for name in rates for n in (1, cpus))]
    lines = {
        name: {float(size): one / 1e6 for size, (one, _) in by_size.items()}
        for name, by_size in rates.items()
    }
    results.mkdir(parents=True, exist_ok=True)
    curves(results / "digests.svg", "Digests on one core", ("bytes", "MB/s"), lines)
    write(
        results,
        "digests",
        {"cpus": cpus, "bytes_per_second": rates},
        ["MB/s of hot data:", table(head, rows), "![digests](digests.svg)"],
    )
