"""`overlay2/`: how Docker's overlay2 driver lays layers out (daemon/graphdriver/overlay2).

    overlay2/<cache-id>/diff       the layer's own files
                       /link       its short name
                       /lower      the short names of all below it, nearest first, `l/A:l/B`
                       /work       for the kernel, empty
                       /merged     where it is mounted
                       /committed  of a layer on which others lie: never to be written to
    overlay2/l/<short name>        a link to ../<cache-id>/diff

A bottom layer has neither `lower` nor `work` nor `merged`. The short names keep
the mount's options, which name all layers, within a page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

NAME = "overlay2"

LINKS = "l"
"""The directory of short names."""

MAX_CHAIN = 125
"""Layers that an image may have: what Docker's layer store takes, and the options have room for."""

SHORT_NAME = re.compile(r"[A-Z0-9]{26}")


def short_name(cache_id: str, attempt: int = 0) -> str:
    """A short name for a layer, the same every time; another one for another attempt."""
    seed = f"{cache_id} {attempt}" if attempt else cache_id
    return base64.b32encode(hashlib.sha256(seed.encode()).digest()).decode()[:26]


def lower(short_names: Iterable[str]) -> str:
    """The content of `lower`, for the short names of all layers below, nearest first."""
    return ":".join(f"l/{name}" for name in short_names)
