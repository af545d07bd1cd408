"""The names of a legacy store's images: v1 IDs."""

from __future__ import annotations

import re

_V1_ID = re.compile(r"[a-f0-9]{64}")


def is_v1_id(name: str) -> bool:
    """Whether `name` is a v1 ID: exactly 64 of `[a-f0-9]` (Docker 1.10 image/v1/imagev1.go)."""
    return _V1_ID.fullmatch(name) is not None
