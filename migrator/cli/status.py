"""`migrator status`: what state a data root is in."""

from __future__ import annotations

import click

from migrator.cli.options import option, place_options
from migrator.cli.output import print_json
from migrator.cli.place import Place
from migrator.commands.status import status as status_of_root
from migrator.report.document import head
from migrator.text import printable


@click.command()
@place_options
@option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(place: Place, as_json: bool) -> int:
    """Say what state the data root is in, and what the next step would be."""
    found = status_of_root(place.graph, place.storage_driver, storage_opts=place.storage_opts)
    next_step = place.completed(found.next_step)
    if as_json:
        document = {**head(place.command, place.graph.absolute()), **found.as_json()}
        print_json({**document, "next_step": next_step})
    else:
        click.echo(printable(f"{place.graph}: {found.state}"))
        click.echo(f"next: {printable(next_step)}")
    return 0
