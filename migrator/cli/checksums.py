"""`migrator checksums`: only the hashing, for a 1.10 daemon to pick up."""

from __future__ import annotations

import click

from migrator import checksumming
from migrator.cli.options import Common, common_options, option
from migrator.cli.output import finish


@click.command()
@common_options
@option("--undo", is_flag=True, help="Remove the helper files again.")
def checksums(common: Common, undo: bool) -> int:
    """Hash all layers and leave the digests where a Docker 1.10 daemon looks for them.

    The helper files `graph/<id>/.migration-diffid`, `-size` and `-tardata` spare
    the new daemon the slow part of its own migration. Safe while the old daemon
    is running.
    """
    if undo:
        removed = checksumming.undo(
            common.graph, common.storage_driver, storage_opts=common.storage_opts
        )
        if not common.quiet:
            click.echo(f"Removed the helper files of {removed} layers")
        return 0
    summary = checksumming.checksums(
        common.graph,
        common.storage_driver,
        storage_opts=common.storage_opts,
        workers=common.workers,
        progress=common.progress(),
    )
    return finish(summary, common)
