"""`python -m tests.walk`: see the package."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.walk.roots import DRIVERS
from tests.walk.walking import walk


def main() -> int:
    """Walk, print what is done and the figures; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.walk")
    parser.add_argument("--driver", choices=DRIVERS, help="one storage driver (default: each)")
    parser.add_argument("--steps", type=int, default=300, help="on each driver")
    parser.add_argument("--seed", type=int, default=0, help="for all choices")
    parser.add_argument("--every", type=int, default=20, help="steps from check to check")
    parser.add_argument("--directory", type=Path, help="for data roots (default: a temporary one)")
    given = parser.parse_args()
    failed = 0
    for driver in [given.driver] if given.driver else DRIVERS:
        directory = Path(tempfile.mkdtemp(prefix=f"walk-{driver}-", dir=given.directory))
        begun = time.monotonic()
        try:
            done = walk(driver, given.steps, given.seed, directory, given.every, _tell)
        except AssertionError as error:
            failed += 1
            _tell(f"FAILED (seed {given.seed}): {error}\nsee {directory}")
            continue
        _tell(f"{driver}: {done}, {time.monotonic() - begun:.0f} s (seed {given.seed})")
        shutil.rmtree(directory)
    return 1 if failed else 0


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
