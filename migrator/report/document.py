"""What all JSON documents have in common, and the one for a command that failed.

Their fields are described in the README; `SCHEMA` changes when one of them
changes its meaning or goes away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migrator.errors import MigratorError
from migrator.text import printable
from migrator.version import __version__

SCHEMA = 1


def head(command: str, data_root: Path | str) -> dict[str, Any]:
    """The fields that every document begins with."""
    return {
        "schema": SCHEMA,
        "migrator": __version__,
        "command": command,
        "data_root": printable(str(data_root)),
    }


def failure(command: str, data_root: Path, error: MigratorError) -> dict[str, Any]:
    """The report of a command that `error` ended."""
    return {
        **head(command, data_root.absolute()),
        "exit_code": int(error.exit_code),
        "error": error_as_json(error),
    }


def error_as_json(error: MigratorError) -> dict[str, Any]:
    """The record as the README describes it."""
    return {
        "subject": printable(error.subject),
        "message": printable(error.message),
        "details": [printable(each) for each in error.details],
        "hint": printable(error.hint),
    }
