"""`python -m tests.house`: see the package."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def main() -> int:
    """Measure each checkout in a process of its own, which imports that one's code."""
    parser = argparse.ArgumentParser(prog="python -m tests.house")
    parser.add_argument("checkouts", nargs="*", type=Path, default=[PROJECT], metavar="CHECKOUT")
    parser.add_argument("--list", action="store_true", help="name the files that are counted")
    given = parser.parse_args()
    checkouts = [path.resolve() for path in given.checkouts]
    columns = []
    for checkout in checkouts:
        done = subprocess.run(
            [sys.executable, "-P", str(Path(__file__).with_name("measuring.py")), str(checkout)],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.PIPE,
            check=True,
        )
        columns.append(json.loads(done.stdout))
    print("| | " + " | ".join(checkout.name for checkout in checkouts) + " |")
    print("| --- |" + " --- |" * len(checkouts))
    details = [column.pop("details") for column in columns]
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(str(column[name]) for column in columns) + " |")
    for checkout, detail in zip(checkouts, details, strict=True):
        for title, files in detail.items() if given.list else ():
            print(f"\n{checkout.name}: {title}", *files, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
