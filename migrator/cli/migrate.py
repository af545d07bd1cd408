"""`migrator migrate`: the whole migration."""

from __future__ import annotations

import click

from migrator import migration
from migrator.cli.options import Work, work_options
from migrator.cli.output import finish


@click.command()
@work_options
def migrate(work: Work) -> int:
    """Migrate the data root in place.

    Adds the metadata that Docker >= 1.10 reads, under the IDs that Docker's own
    migration would have given, beside the old metadata, which stays. The Docker
    daemon must not be running on the data root.
    """
    summary = migration.migrate(
        work.graph,
        work.storage_driver,
        storage_opts=work.storage_opts,
        work_dir=work.work_dir,
        workers=work.workers,
        progress=work.progress(),
    )
    return finish(summary, work)
