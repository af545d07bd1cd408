"""`python -m tests.faults`: see the package."""

from __future__ import annotations

import argparse
import sys
import time

from tests.command import snapshot
from tests.faults.places import OVERLAY2, ROOTS, make
from tests.faults.table import table
from tests.faults.trials import Trial, Way, trials
from tests.scratch import scratch


def main() -> int:
    """Try faults and print the tables; 1 if a store is not what it was at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--count", type=int, default=400, help="faults a store")
    parser.add_argument("--seed", type=int, default=0, help="for the choice of faults")
    parser.add_argument("--only", default="", metavar="STORE", help="stores with this in the name")
    parser.add_argument("--missed", action="store_true", help="name what --deep does not find")
    given = parser.parse_args()
    tried: dict[bool, list[Trial]] = {False: [], True: []}
    failed = False
    with scratch() as directory:
        for number, (store, target) in enumerate(ROOTS):
            if given.only not in f"{store} to {target}":
                continue
            root = make(store, target, directory / str(number))
            before, begun = snapshot(root.path), time.monotonic()
            for trial in trials(root, given.count, given.seed):
                tried[target == OVERLAY2].append(trial)
                if given.missed and Way.DEEP not in trial.ways:
                    path = trial.path.relative_to(root.path)
                    print(f"missed: {trial.place}: {trial.kind.name}: {path}", file=sys.stderr)
            took = time.monotonic() - begun
            print(f"{root.name}: {given.count} faults, {took:.0f} s", file=sys.stderr, flush=True)
            if snapshot(root.path) != before:
                print(f"{root.name}: not what it was before", file=sys.stderr)
                failed = True
    for converted, found in tried.items():
        if found:
            print(f"\nmigrated {'to overlay2' if converted else 'in place'}\n\n{table(found)}")
    return int(failed or not any(tried.values()))


if __name__ == "__main__":
    sys.exit(main())
