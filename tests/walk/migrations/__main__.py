"""`python -m tests.walk.migrations`: see the package."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

from tests.scratch import scratch
from tests.walk.migrations.walking import DRIVERS, Walk


def main() -> int:
    """Walk, print what is done and the figures; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.walk.migrations")
    parser.add_argument("--driver", choices=DRIVERS, help="of the legacy store (default: each)")
    parser.add_argument("--steps", type=int, default=100, help="on each driver")
    parser.add_argument("--seed", type=int, default=0, help="for all choices")
    given = parser.parse_args()
    failed = 0
    for driver in [given.driver] if given.driver else DRIVERS:
        begun = time.monotonic()
        with scratch() as directory:
            try:
                done = _walk(driver, given.seed, directory, given.steps)
            except Exception:
                failed += 1
                print(f"FAILED ({driver}, seed {given.seed}):\n{traceback.format_exc()}")
                continue
        print(f"{driver}: {done}, {time.monotonic() - begun:.0f} s (seed {given.seed})")
    return 1 if failed else 0


def _walk(driver: str, seed: int, directory: Path, steps: int) -> object:
    return Walk(driver, seed, directory, lambda line: print(line, flush=True)).go(steps)


if __name__ == "__main__":
    sys.exit(main())
