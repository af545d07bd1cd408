"""The command line: one file a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from migrator.cli.checksums import checksums
from migrator.cli.export import export
from migrator.cli.failures import interrupted, interruptible, tell
from migrator.cli.migrate import migrate
from migrator.cli.plan import plan
from migrator.cli.rollback import rollback
from migrator.cli.status import status
from migrator.cli.verify import verify
from migrator.errors import ExitCode, MigratorError
from migrator.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="migrator %(version)s")
def commands() -> None:
    """Carry the data root of Docker <= 1.9 over to the content-addressed store of Docker >= 1.10.

    Old images can go to today's engines as well: on overlay2, or exported.

    \b
    Exit codes: 0 done (also when there was nothing to do), 1 failed, 2 wrong usage,
    3 done but some images, tags or containers were left out, 4 interrupted.
    """


for _command in (plan, migrate, checksums, export, verify, status, rollback):
    commands.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        with interruptible():
            code = commands.main(arguments, prog_name="migrator", standalone_mode=False)
            return int(code or ExitCode.OK)
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        return tell(interrupted())
    except MigratorError as error:
        return tell(error)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        sys.stdout = None
        return ExitCode.FAILED
