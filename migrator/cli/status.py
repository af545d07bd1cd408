"""`migrator status`: what state a data root is in."""

from __future__ import annotations

import click

from migrator import recovery
from migrator.cli.options import Place, option, place_options
from migrator.cli.output import print_json
from migrator.text import printable


@click.command()
@place_options
@option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(place: Place, as_json: bool) -> int:
    """Say what state the data root is in, and what the next step would be."""
    found = recovery.status(place.graph, place.storage_driver, storage_opts=place.storage_opts)
    if as_json:
        print_json(found.as_json())
    else:
        click.echo(printable(f"{place.graph}: {found.state}"))
        click.echo(f"next: {found.next_step}")
    return 0
