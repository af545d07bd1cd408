"""`image/<driver>/distribution/`: which blob digests a layer is known by in registries.

Docker uses it to push without sending again and to pull without fetching again
(Docker 1.10 `distribution/metadata/v2_metadata_service.go`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from migrator.errors import Problem, Subject
from migrator.layer.identity import is_digest
from migrator.store.stage import Stage

# Docker keeps the newest 50 digests of a layer.
_MOST = 50


class Distribution:
    """Collects (diffID, blob digest) pairs and stages the records, on top of those there are.

    A record that is there but damaged stays as it is, and is one of `problems`.
    """

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._base = f"image/{driver}/distribution"
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
            known[:] = [*(entry for entry in known if entry != metadata), metadata][-_MOST:]
            self._by_digest[digest] = diff_id

    def carry(self, diff_id: str, entries: Sequence[Mapping[str, str]]) -> None:
        """Add the record that another driver's store has of this layer, as the older part."""
        known = self._known(diff_id)
        if known is not None:
            known[:] = [*(dict(entry) for entry in entries if entry not in known), *known][-_MOST:]
            for digest in (entry["Digest"] for entry in entries):
                if not self._staging.present(self._digest_path(digest)):
                    self._by_digest.setdefault(digest, diff_id)

    def finish(self) -> None:
        """Stage the records."""
        for diff_id, known in self._by_diff_id.items():
            if known is not None:
                self._put(self._diff_id_path(diff_id), orjson.dumps(known))
        for digest, diff_id in self._by_digest.items():
            self._put(self._digest_path(digest), diff_id.encode())

    def _known(self, diff_id: str) -> list[dict[str, str]] | None:
        if diff_id not in self._by_diff_id:
            self._by_diff_id[diff_id] = self._existing(diff_id)
        return self._by_diff_id[diff_id]

    def _digest_path(self, digest: str) -> str:
        return f"{self._base}/diffid-by-digest/{digest.replace(':', '/')}"

    def _diff_id_path(self, diff_id: str) -> str:
        return f"{self._base}/v2metadata-by-diffid/{diff_id.replace(':', '/')}"

    def _existing(self, diff_id: str) -> list[dict[str, str]] | None:
        path = self._diff_id_path(diff_id)
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
