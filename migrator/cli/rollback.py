"""`migrator rollback`: back to what was there before `migrate`."""

from __future__ import annotations

import click

from migrator.cli.options import option, place_options
from migrator.cli.place import Place
from migrator.commands.rollback import rollback as roll_back
from migrator.text import printable


@click.command()
@place_options
@option("--force", is_flag=True, help="Also when Docker has changed or added something since.")
def rollback(place: Place, force: bool) -> int:
    """Put the data root back to exactly what it was before `migrate`.

    Works on an interrupted migration too. Refuses, naming it, where something
    has been changed or added since. Asks no questions.
    """
    outcome = roll_back(
        place.graph, place.storage_driver, storage_opts=place.storage_opts, force=force
    )
    if not place.quiet:
        click.echo(printable(place.completed(outcome)))
    return 0
