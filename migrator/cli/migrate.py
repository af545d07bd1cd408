"""`migrator migrate`: the whole migration."""

from __future__ import annotations

import click

from migrator.cli.options import option, work_options
from migrator.cli.output import finish
from migrator.cli.place import Work
from migrator.commands import migrate as migration

target_option = option(
    "--target-driver",
    metavar="NAME",
    help="Build the store for this storage driver, too: overlay2.",
)


@click.command()
@work_options
@target_option
def migrate(work: Work, target_driver: str | None) -> int:
    """Migrate the data root in place.

    Adds the metadata that Docker >= 1.10 reads, under the IDs that Docker's own
    migration would have given, beside the old metadata, which stays. The Docker
    daemon must not be running on the data root.

    With --target-driver overlay2 the layers and containers are made ready for
    today's Docker as well, from any storage driver, also where Docker 1.10 to 23
    has been used. The old driver's directory stays as it is.
    """
    summary = migration.migrate(
        work.graph,
        work.storage_driver,
        target_driver=target_driver,
        storage_opts=work.storage_opts,
        work_dir=work.work_dir,
        workers=work.workers,
        progress=work.progress(),
    )
    return finish(summary, work)
