"""`image/<driver>/distribution/`: which blob digests a layer is known by in registries.

Docker uses it to push without sending again and to pull without fetching again
(Docker 1.10 `distribution/metadata/v2_metadata_service.go`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from migrator.errors import FormatError, Problem, Subject
from migrator.layer.identity import is_digest
from migrator.store.findings import Finding, Findings
from migrator.store.layout import Layout
from migrator.store.lines import DIGEST, line
from migrator.store.stage import Stage
from migrator.system.rootfiles import RootFiles, json_value

MOST = 50
"""Docker keeps the newest 50 digests of a layer."""

_hmac = re.compile(r"[a-f0-9]*")
_KEYS = {"Digest", "SourceRepository"}


class Distribution:
    """Collects (diffID, blob digest) pairs and stages the records, on top of those there are.

    A record that is there but damaged stays as it is, and is one of `problems`.
    """

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._layout = Layout(driver)
        self.problems: list[Problem] = []
        self._by_diff_id: dict[str, list[dict[str, str]] | None] = {}
        self._by_digest: dict[str, str] = {}

    def add(self, diff_id: str, digest: str) -> None:
        """Note that the blob `digest` holds the layer `diff_id`; what is no digest is ignored."""
        if is_digest(digest):
            self._add_last(diff_id, digest, self._known(diff_id))

    def repeat(self, diff_id: str, digest: str) -> None:
        """Note a pair that an earlier run noted, in its place among those that are added.

        One that is not recorded is none of its.
        """
        if is_digest(digest):
            known = self._known(diff_id)
            if known is not None and _metadata(digest) in known:
                self._add_last(diff_id, digest, known)

    def _add_last(self, diff_id: str, digest: str, known: list[dict[str, str]] | None) -> None:
        if known is not None:
            metadata = _metadata(digest)
            known[:] = [*(entry for entry in known if entry != metadata), metadata][-MOST:]
            self._by_digest[digest] = diff_id

    def carry(self, diff_id: str, entries: Sequence[Mapping[str, str]]) -> None:
        """Add the record that another driver's store has of this layer, as the older part."""
        known = self._known(diff_id)
        if known is not None:
            known[:] = [*(dict(entry) for entry in entries if entry not in known), *known][-MOST:]
            for digest in (entry["Digest"] for entry in entries):
                if not self._staging.present(self._layout.digest(digest)):
                    self._by_digest.setdefault(digest, diff_id)

    def finish(self) -> None:
        """Stage the records."""
        for diff_id, known in self._by_diff_id.items():
            if known is not None:
                self._put(self._layout.diff_id(diff_id), orjson.dumps(known))
        for digest, diff_id in self._by_digest.items():
            self._put(self._layout.digest(digest), diff_id.encode())

    def _known(self, diff_id: str) -> list[dict[str, str]] | None:
        if diff_id not in self._by_diff_id:
            self._by_diff_id[diff_id] = self._existing(diff_id)
        return self._by_diff_id[diff_id]

    def _existing(self, diff_id: str) -> list[dict[str, str]] | None:
        path = self._layout.diff_id(diff_id)
        raw = self._staging.current(path)
        if raw is None:
            return []
        try:
            known = orjson.loads(raw)
        except orjson.JSONDecodeError:
            known = None
        if isinstance(known, list) and all(
            isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
            for entry in known
        ):
            return known
        reason = f"{path} is damaged, and left as it is"
        self.problems.append(Problem(Subject.DIGEST, diff_id, reason, fatal=False))
        return None

    def _put(self, path: str, data: bytes) -> None:
        current = self._staging.current(path)
        if current is None:
            self._staging.write(path, data)
        elif current != data:
            self._staging.replace(path, data)


def _metadata(digest: str) -> dict[str, str]:
    return {"Digest": digest, "SourceRepository": ""}


@dataclass(frozen=True, slots=True)
class DigestLists:
    """The entries, one a blob digest, that can be read of each layer, by diffID."""

    lists: dict[str, list[dict[str, str]]]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class DigestRecords:
    """All digests that have a record of their own, and the diffIDs that can be read of these."""

    digests: frozenset[str]
    diff_ids: dict[str, str]
    findings: tuple[Finding, ...] = ()


def read_digest_lists(files: RootFiles, driver: str) -> DigestLists:
    """Read which blobs each layer is in."""
    findings = Findings()
    lists: dict[str, list[dict[str, str]]] = {}
    for diff_id, path in _records(files, Layout(driver).by_diff_id, findings):
        with findings.noting(Subject.DIGEST, diff_id, path):
            lists[diff_id] = _entries(files.read(path))
    return DigestLists(lists, tuple(findings))


def read_digest_records(files: RootFiles, driver: str) -> DigestRecords:
    """Read which layer each blob holds."""
    findings = Findings()
    digests: set[str] = set()
    diff_ids: dict[str, str] = {}
    for digest, path in _records(files, Layout(driver).by_digest, findings):
        digests.add(digest)
        with findings.noting(Subject.DIGEST, digest, path):
            diff_ids[digest] = line(files, path, DIGEST, "diffID")
    return DigestRecords(frozenset(digests), diff_ids, tuple(findings))


def _records(files: RootFiles, base: str, findings: Findings) -> Iterator[tuple[str, str]]:
    """The digests that have a file below `base/<algorithm>/`, with its path."""
    for algorithm in files.names(base):
        for name in files.names(f"{base}/{algorithm}"):
            digest, path = f"{algorithm}:{name}", f"{base}/{algorithm}/{name}"
            if is_digest(digest):
                yield digest, path
            else:
                findings.add(Subject.DIGEST, digest, path, "the name is no digest")


def _entries(data: bytes) -> list[dict[str, str]]:
    values: Any = json_value(data)
    if not isinstance(values, list) or len(values) > MOST:
        raise FormatError(f"is no list of at most {MOST} digests")
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
    return values
