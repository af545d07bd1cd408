"""`migrator verify`: an independent check of a migrated data root."""

from __future__ import annotations

import click

from migrator.cli.options import option, work_options
from migrator.cli.output import print_json
from migrator.cli.place import Work
from migrator.commands.verify import verify as check
from migrator.report.writing import write_report


@click.command()
@work_options
@option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@option("--quick", is_flag=True, help="Manifest and metadata only; no layer is read.")
@option("--deep", is_flag=True, help="Also compare inherited files (drivers with complete trees).")
def verify(work: Work, as_json: bool, quick: bool, deep: bool) -> int:
    """Check a content-addressed data root, reading every byte.

    Every layer's tar is rebuilt and hashed against its diffID; chainIDs, image
    IDs, references, mounts and all other metadata are checked. Works on any
    data root of Docker >= 1.10 and changes nothing.
    """
    report = check(
        work.graph,
        work.storage_driver,
        storage_opts=work.storage_opts,
        work_dir=work.work_dir,
        deep=deep,
        quick=quick,
        workers=work.workers,
        progress=work.progress(),
    )
    if work.report is not None:
        write_report(work.report, report.as_json())
    if as_json:
        print_json(report.as_json())
    elif not work.quiet or report.findings:
        for line in report.lines():
            click.echo(line)
    return report.exit_code
