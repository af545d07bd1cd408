"""`migrator checksums`: only the hashing, for a 1.10 daemon to pick up."""

from __future__ import annotations

import sys

import click

from migrator.cli.options import option, work_options
from migrator.cli.output import finish
from migrator.cli.place import Work
from migrator.commands import checksums as checksumming
from migrator.errors import ExitCode
from migrator.progress import print_event
from migrator.report.document import head
from migrator.report.writing import write_report
from migrator.text import count


@click.command()
@work_options
@option("--undo", is_flag=True, help="Remove the helper files again.")
def checksums(work: Work, undo: bool) -> int:
    """Hash all layers and leave the digests where a Docker 1.10 daemon looks for them.

    The helper files `graph/<id>/.migration-diffid`, `-size` and `-tardata` spare
    the new daemon the slow part of its own migration. Safe while the old daemon
    is running.
    """
    if undo:
        removed = checksumming.undo(work.graph, work.storage_driver, storage_opts=work.storage_opts)
        return _finish_undo(removed, work)
    summary = checksumming.checksums(
        work.graph,
        work.storage_driver,
        storage_opts=work.storage_opts,
        work_dir=work.work_dir,
        workers=work.workers,
        progress=work.progress(),
    )
    return finish(summary, work)


def _finish_undo(removed: int, work: Work) -> int:
    document = {
        **head("checksums", work.graph.absolute()),
        "exit_code": int(ExitCode.OK),
        "layers_undone": removed,
    }
    if work.report is not None:
        write_report(work.report, document)
    if work.tells_json:
        print_event(sys.stderr, "summary", **document)
    elif not work.quiet:
        click.echo(f"Removed the helper files of {count(removed, 'layer')}")
    return ExitCode.OK
