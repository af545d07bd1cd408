"""`image/<driver>/distribution/`: blob digests (Docker `distribution/metadata/`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from migrator.errors import FormatError, Subject
from migrator.layer.identity import is_digest
from migrator.system.rootfiles import RootFiles, json_value
from migrator.verification.findings import Findings
from migrator.verification.layers import DIGEST, line

# Docker keeps the newest 50 digests of a layer.
_MOST = 50

_LISTS = "v2metadata-by-diffid"

_hmac = re.compile(r"[a-f0-9]*")
_KEYS = {"Digest", "SourceRepository"}


def check_distribution(files: RootFiles, driver: str, used: bool, findings: Findings) -> int:
    """Check the records of both directions; returns how many digests are recorded.

    On a root that Docker has `used`, a digest may have gone from its layer's
    list: Docker drops one that a registry does not know any longer there only.
    """
    base = f"image/{driver}/distribution"
    known: dict[str, set[str]] = {}
    for diff_id, path in _records(files, f"{base}/{_LISTS}", findings):
        with findings.noting(Subject.DIGEST, diff_id, path):
            known[diff_id] = _read_list(files.read(path))
    recorded = set()
    for digest, path in _records(files, f"{base}/diffid-by-digest", findings):
        recorded.add(digest)
        with findings.noting(Subject.DIGEST, digest, path):
            diff_id = line(files, path, DIGEST, "diffID")
            digests = known.get(diff_id, set())
            if digest not in digests and len(digests) < _MOST and not used:
                raise FormatError(f"names {diff_id}, whose list has not this digest")
    for diff_id, digests in known.items():
        for digest in sorted(digests - recorded):
            path = f"{base}/v2metadata-by-diffid/{diff_id.replace(':', '/')}"
            reason = f"lists {digest}, for which there is no record"
            findings.add(Subject.DIGEST, diff_id, path, reason)
    return len(recorded)


def read_records(
    files: RootFiles, driver: str, findings: Findings
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """All sound records of which blobs a layer is in, by diffID."""
    for diff_id, path in _records(files, f"image/{driver}/distribution/{_LISTS}", findings):
        with findings.noting(Subject.DIGEST, diff_id, path):
            data = files.read(path)
            _read_list(data)
            yield diff_id, json_value(data)


def _records(files: RootFiles, base: str, findings: Findings) -> Iterator[tuple[str, str]]:
    """The digests that have a file below `base/<algorithm>/`, with its path."""
    for algorithm in files.names(base):
        for name in files.names(f"{base}/{algorithm}"):
            digest, path = f"{algorithm}:{name}", f"{base}/{algorithm}/{name}"
            if is_digest(digest):
                yield digest, path
            else:
                findings.add(Subject.DIGEST, digest, path, "the name is no digest")


def _read_list(data: bytes) -> set[str]:
    values: Any = json_value(data)
    if not isinstance(values, list) or len(values) > _MOST:
        raise FormatError(f"is no list of at most {_MOST} digests")
    digests = set()
    for entry in values:
        if not isinstance(entry, dict) or not entry.keys() >= _KEYS:
            raise FormatError("has an entry without digest and repository")
        digest, hmac = entry["Digest"], entry.get("HMAC", "")
        if not isinstance(digest, str) or not is_digest(digest):
            raise FormatError(f"has {str(digest)[:150]!r}, which is no digest")
        if (
            entry.keys() - {*_KEYS, "HMAC"}
            or not isinstance(entry["SourceRepository"], str)
            or not isinstance(hmac, str)
            or _hmac.fullmatch(hmac) is None
        ):
            raise FormatError(f"has a malformed entry for {digest}")
        digests.add(digest)
    return digests
