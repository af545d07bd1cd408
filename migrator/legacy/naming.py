"""Names that a store uses: which are v1 IDs, and how any of them is shown."""

from __future__ import annotations

import re

_V1_ID = re.compile(r"[a-f0-9]{64}")
_SHOWN_LENGTH = 300


def is_v1_id(name: str) -> bool:
    """Whether `name` is a v1 ID: exactly 64 of `[a-f0-9]` (Docker 1.10 image/v1/imagev1.go)."""
    return _V1_ID.fullmatch(name) is not None


def printable(name: str) -> str:
    """`name` fit for a terminal: control characters and stray bytes escaped, very long ones cut."""
    if len(name) > _SHOWN_LENGTH:
        name = name[:_SHOWN_LENGTH] + "..."
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
