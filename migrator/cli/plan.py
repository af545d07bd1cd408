"""`migrator plan`: what a migration would do."""

from __future__ import annotations

import click

from migrator import planning
from migrator.cli.options import Work, option, work_options
from migrator.cli.output import print_json
from migrator.report.preview import Preview
from migrator.report.writing import write_report


@click.command()
@work_options
@option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(work: Work, as_json: bool) -> int:
    """Show what there is to migrate, what will be left out and why, and how long it will take.

    Reads metadata only and changes nothing; a Docker daemon may be running.
    """
    made = planning.plan(
        work.graph, work.storage_driver, storage_opts=work.storage_opts, work_dir=work.work_dir
    )
    preview = Preview.of(made, work.workers)
    if work.report is not None:
        write_report(work.report, preview.as_json())
    if as_json:
        print_json(preview.as_json())
    elif not work.quiet:
        for line in preview.lines():
            click.echo(line)
    return preview.exit_code
