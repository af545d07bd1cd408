"""The real files that mutation starts from: members of the packed stores."""

from __future__ import annotations

import gzip
import re
import tarfile
from collections import defaultdict
from functools import cache
from pathlib import Path

STORES = Path(__file__).parents[2] / "legacy_fixtures" / "stores"
_ARCHIVES = (
    "docker-1.7.1-aufs",
    "docker-1.9.1-overlay",
    "docker-1.9.1-overlay-odd",
    "docker-1.9.1-overlay-pulled",
)

_KINDS = {
    "json": re.compile(r"graph/[0-9a-f]{64}/(?:json|v1Compatibility)"),
    "record": re.compile(r"graph/[0-9a-f]{64}/tar-data\.json\.gz"),
    "config": re.compile(r"containers/[^/]+/config\.json"),
    "hostconfig": re.compile(r"containers/[^/]+/hostconfig\.json"),
    "repositories": re.compile(r"repositories-[a-z]+"),
    "linkgraph": re.compile(r"linkgraph\.db"),
}

# A longer seed makes slower inputs and no better ones.
_LONGEST = 64 << 10


@cache
def seeds() -> dict[str, list[bytes]]:
    """Files of the real stores by kind, each content once; records are unpacked."""
    found: dict[str, set[bytes]] = defaultdict(set)
    for archive in _ARCHIVES:
        with tarfile.open(STORES / f"{archive}.tar.xz") as store:
            for member in store:
                for kind, pattern in _KINDS.items():
                    if member.isreg() and pattern.fullmatch(member.name.removeprefix("./")):
                        file = store.extractfile(member)
                        assert file is not None
                        data = file.read()
                        found[kind].add(gzip.decompress(data) if kind == "record" else data)
    chosen = {kind: sorted(d for d in data if len(d) <= _LONGEST) for kind, data in found.items()}
    assert chosen.keys() == _KINDS.keys() and all(chosen.values())
    return chosen
