"""What commands have in common when they print or write their results."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import click
import orjson

from migrator.cli.place import Work
from migrator.progress import print_event
from migrator.report.problems import problem_lines
from migrator.report.summary import Summary
from migrator.report.writing import write_report
from migrator.text import count


def finish(summary: Summary, work: Work) -> int:
    """Print the closing summary, write the report, and give the exit code.

    With `--progress json` the summary is the last event, the report without its layers.
    """
    summary = replace(summary, problems=work.completed_all(summary.problems))
    document = summary.as_json()
    if work.report is not None:
        write_report(work.report, document)
    if work.tells_json:
        del document["layers"]
        print_event(sys.stderr, "summary", **document)
        return summary.exit_code
    if work.verbose:
        for row in summary.layers:
            click.echo(
                f"{row.v1_id[:12]} {row.diff_id} {count(row.tar_bytes, 'byte')} {row.seconds:.3f} s"
                f" worker {row.worker} {'kept' if row.kept else row.method}"
            )
    lines = problem_lines(summary.problems) if work.quiet else summary.lines()
    for line in lines:
        click.echo(line, err=work.quiet)
    return summary.exit_code


def print_json(document: dict[str, Any]) -> None:
    """Print a document on standard output."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
