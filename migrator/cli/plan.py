"""`migrator plan`: what a migration would do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from migrator.cli.migrate import target_option
from migrator.cli.options import option, work_options
from migrator.cli.output import print_json
from migrator.cli.place import Work
from migrator.commands.plan import plan as make_plan
from migrator.commands.plan import plan_conversion
from migrator.report.preview import ConversionPreview, Preview
from migrator.report.writing import write_report


@click.command()
@work_options
@target_option
@option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(work: Work, target_driver: str | None, as_json: bool) -> int:
    """Show what there is to migrate, what will be left out and why, and how long it will take.

    Reads metadata only and changes nothing; a Docker daemon may be running.
    """
    preview: Preview | ConversionPreview
    place: dict[str, Any] = {"storage_opts": work.storage_opts, "work_dir": work.work_dir}
    if target_driver is None:
        made = make_plan(work.graph, work.storage_driver, **place)
        made = replace(made, problems=tuple(work.completed_all(made.problems)))
        preview = Preview.of(made, work.workers)
    else:
        conversion = plan_conversion(work.graph, work.storage_driver, target_driver, **place)
        problems = tuple(work.completed_all(conversion.problems))
        conversion = replace(conversion, problems=problems)
        preview = ConversionPreview.of(conversion, work.workers)
    if work.report is not None:
        write_report(work.report, preview.as_json())
    if as_json:
        print_json(preview.as_json())
    elif not work.quiet:
        for line in preview.lines(verbose=work.verbose):
            click.echo(line)
    return preview.exit_code
