"""Run the fuzzers: `python -m tests.fuzz [--inputs N] [--seed S] [--only PARSER]`.

N inputs in all, shared out among the parsers (default 10,000). Prints how many
each took and refused, and what was found; ends with 1 if anything was. A
finding is saved below `--save` (default `fuzz-findings/`), and
`--replay FILE` runs it again. One core, some hundred MB; a million inputs take
about half an hour.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

from tests.fuzz.campaign import Result, replay, run
from tests.fuzz.parsers import PARSERS, clean_up


def main() -> int:
    arguments = _arguments()
    try:
        if arguments.replay is not None:
            name, files = ast.literal_eval(arguments.replay.read_text())
            found = replay(name, files)
            print(found or "nothing wrong")
            return int(found is not None)
        return _run_all(_shares(arguments.only or [*PARSERS], arguments.inputs), arguments)
    finally:
        clean_up()


def _run_all(shares: list[tuple[str, int]], arguments: argparse.Namespace) -> int:
    found = False
    print(f"{'parser':14}{'inputs':>10}{'refused':>10}{'seconds':>9}  findings")
    for name, count in shares:
        result = run(name, count, arguments.seed)
        print(
            f"{name:14}{count:10}{result.refused:10}{result.seconds:9.1f}  {len(result.findings)}",
            flush=True,
        )
        _save(result, arguments.save)
        found = found or bool(result.findings)
    print(f"{sum(count for _, count in shares)} inputs, seed {arguments.seed}")
    return int(found)


def _shares(names: list[str], inputs: int) -> list[tuple[str, int]]:
    whole = sum(PARSERS[name].share for name in names)
    return [(name, -(-inputs * PARSERS[name].share // whole)) for name in names]


def _save(result: Result, directory: Path) -> None:
    for finding in result.findings:
        directory.mkdir(exist_ok=True)
        path = directory / f"{result.parser}-{finding.number}"
        path.write_text(repr((result.parser, finding.files)))
        print(f"\n{path} ({finding.times} inputs like it):\n{finding.traceback}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=PARSERS, metavar="PARSER")
    parser.add_argument("--save", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--replay", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
