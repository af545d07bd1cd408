"""`migrator rollback`: back to what was there before `migrate`."""

from __future__ import annotations

import click

from migrator import recovery
from migrator.cli.options import Place, option, place_options


@click.command()
@place_options
@option("--force", is_flag=True, help="Also when Docker has changed or added something since.")
def rollback(place: Place, force: bool) -> int:
    """Put the data root back to exactly what it was before `migrate`.

    Works on an interrupted migration too. Refuses, naming it, where something
    has been changed or added since. Asks no questions.
    """
    outcome = recovery.rollback(
        place.graph, place.storage_driver, storage_opts=place.storage_opts, force=force
    )
    if not place.quiet:
        click.echo(outcome)
    return 0
