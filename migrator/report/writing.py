"""Writing a report to a file that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from migrator.errors import StoreError


def check_writable(path: Path) -> None:
    """Raise StoreError if a report could not be written to `path`; an existing one is kept."""
    try:
        path.open("ab").close()
    except OSError as error:
        raise _failed(path, error) from None


def write_report(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON report. Raises StoreError when that fails."""
    try:
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise _failed(path, error) from None


def _failed(path: Path, error: OSError) -> StoreError:
    return StoreError(f"the report cannot be written ({error.strerror})", subject=str(path))
