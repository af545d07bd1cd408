"""`migrator migrate`: the whole migration."""

from __future__ import annotations

import click

from migrator import migration
from migrator.cli.options import Common, common_options
from migrator.cli.output import finish


@click.command()
@common_options
def migrate(common: Common) -> int:
    """Migrate the data root in place.

    Adds the metadata that Docker >= 1.10 reads, under the IDs that Docker's own
    migration would have given, beside the old metadata, which stays. The Docker
    daemon must not be running on the data root.
    """
    summary = migration.migrate(
        common.graph,
        common.storage_driver,
        storage_opts=common.storage_opts,
        workers=common.workers,
        progress=common.progress(),
    )
    return finish(summary, common)
