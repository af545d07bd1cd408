"""`migrator rollback`: back to what was there before `migrate`."""

from __future__ import annotations

import click

from migrator import recovery
from migrator.cli.options import Common, common_options, option


@click.command()
@common_options
@option("--force", is_flag=True, help="Also when Docker has changed or added something since.")
def rollback(common: Common, force: bool) -> int:
    """Put the data root back to exactly what it was before `migrate`.

    Works on an interrupted migration too. Refuses, naming it, where something
    has been changed or added since. Asks no questions.
    """
    outcome = recovery.rollback(common.graph, force=force)
    if not common.quiet:
        click.echo(outcome)
    return 0
