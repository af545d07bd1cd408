"""Names of layers and images: diffID, chainID, image ID.

All are written `sha256:<64 hex>`; on disk Docker uses the hex part alone
(Docker 1.10 `layer/layer.go`, `image/rootfs.go`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

SHA256 = "sha256:"

_DIGEST = re.compile(r"(?:sha256:[a-fA-F0-9]{64}|sha384:[a-fA-F0-9]{96}|sha512:[a-fA-F0-9]{128})")
_V1_ID = re.compile(r"[a-f0-9]{64}")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")


def is_digest(text: str) -> bool:
    """Whether `text` is `ALGORITHM:HEX` with an algorithm and length that Docker 1.10 accepts."""
    return _DIGEST.fullmatch(text) is not None


def is_sha256(text: str) -> bool:
    """Whether `text` is a `sha256:` digest, the only kind that names layers and images."""
    return _SHA256.fullmatch(text) is not None


def sha256_digest(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return SHA256 + hashlib.sha256(data).hexdigest()


def hex_part(digest: str) -> str:
    """The part of `ALGORITHM:HEX` behind the colon: what files are named by."""
    return digest.partition(":")[2]


def chain_id(parent: str | None, diff_id: str) -> str:
    """ChainID of the layer `diff_id` on the stack `parent` (a chainID, or None at the bottom)."""
    if parent is None:
        return diff_id
    return sha256_digest(f"{parent} {diff_id}".encode())


def chains_of(diff_ids: Iterable[str]) -> Iterator[str]:
    """ChainIDs of a stack's layers, bottom first as they are given."""
    chain: str | None = None
    for diff_id in diff_ids:
        chain = chain_id(chain, diff_id)
        yield chain


def chain_of(diff_ids: Iterable[str]) -> str | None:
    """ChainID of a whole stack, bottom first; None for an empty one."""
    return [None, *chains_of(diff_ids)][-1]


def is_v1_id(name: str) -> bool:
    """Whether `name` is a v1 ID: exactly 64 of `[a-f0-9]` (Docker 1.10 image/v1/imagev1.go)."""
    return _V1_ID.fullmatch(name) is not None
