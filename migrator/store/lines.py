"""What files of one line say: digests, names of directories, sizes."""

from __future__ import annotations

import re

from migrator.errors import FormatError
from migrator.system.rootfiles import RootFiles

HEX = re.compile(r"[a-f0-9]{64}")
DIGEST = re.compile(r"sha256:[a-f0-9]{64}")

# 64 hex digits, or BuildKit's shorter names; either may have "-init" behind it.
DIRECTORY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

_MAX_LINE = 4096


def line(files: RootFiles, path: str, pattern: re.Pattern[str], what: str) -> str:
    """The content of a one-line file. Raises FormatError when it is not `what`."""
    text = files.read(path, _MAX_LINE).decode("utf-8", "replace")
    if pattern.fullmatch(text) is None:
        raise FormatError(f"says {text[:100]!r}, which is no {what}")
    return text
