"""Writing a report to a file that the user names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from migrator.errors import ReportError


def check_writable(path: Path) -> None:
    """Raise ReportError if a report could not be written to `path`; an existing one is kept.

    Otherwise nothing is left there: an empty file is no report.
    """
    try:
        existed = os.path.lexists(path)
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise _failed(path, error) from None


def write_report(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON report. Raises ReportError when that fails."""
    try:
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise _failed(path, error) from None


def _failed(path: Path, error: OSError) -> ReportError:
    return ReportError(f"the report cannot be written ({error.strerror})", subject=str(path))
