"""`migrator checksums`: only the hashing, for a 1.10 daemon to pick up."""

from __future__ import annotations

import click

from migrator import checksumming
from migrator.cli.options import Work, option, work_options
from migrator.cli.output import finish


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
        if not work.quiet:
            click.echo(f"Removed the helper files of {removed} layers")
        return 0
    summary = checksumming.checksums(
        work.graph,
        work.storage_driver,
        storage_opts=work.storage_opts,
        work_dir=work.work_dir,
        workers=work.workers,
        progress=work.progress(),
    )
    return finish(summary, work)
