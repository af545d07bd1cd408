"""`migrator plan`: what a migration would do."""

from __future__ import annotations

import click

from migrator import planning
from migrator.cli.options import Common, common_options, option
from migrator.cli.output import print_json
from migrator.report.preview import Preview
from migrator.report.writing import write_report


@click.command()
@common_options
@option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(common: Common, as_json: bool) -> int:
    """Show what there is to migrate, what will be left out and why, and how long it will take.

    Reads metadata only and changes nothing; a Docker daemon may be running.
    """
    made = planning.plan(common.graph, common.storage_driver, storage_opts=common.storage_opts)
    preview = Preview.of(made, common.workers)
    if common.report is not None:
        write_report(common.report, preview.as_json())
    if as_json:
        print_json(preview.as_json())
    elif not common.quiet:
        for line in preview.lines():
            click.echo(line)
    return preview.exit_code
