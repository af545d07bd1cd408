"""The two marker files of a migrated root (Docker 1.10 `migrate/v1/migratev1.go`)."""

from __future__ import annotations

from collections.abc import Set

from migrator.errors import FormatError, Subject
from migrator.store.findings import Finding, Findings
from migrator.store.imagedb import ImageStore
from migrator.store.lines import DIGEST, HEX
from migrator.store.markers import IMAGES, TAGS
from migrator.system.rootfiles import MissingFileError, RootFiles, json_object


def check_markers(
    files: RootFiles, store: ImageStore, untouched: bool
) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Check both: the map of v1 IDs to image IDs, empty without one, and what is wrong.

    Docker keeps the entries of images that were removed, so only on an
    `untouched` root must all images be there. Legacy images need not be: an old
    daemon that goes on removes some, their owner in the end all of them.
    """
    findings = Findings()
    with findings.noting(Subject.ROOT, TAGS, TAGS):
        if (status := files.status(TAGS)) is not None and status.st_size:
            raise FormatError("is not empty")
    images: dict[str, str] = {}
    with findings.noting(Subject.ROOT, IMAGES, IMAGES):
        try:
            values = json_object(files.read(IMAGES))
        except MissingFileError:
            return images, tuple(findings)
        legacy = set(files.names("graph"))
        for v1_id, image_id in values.items():
            if HEX.fullmatch(v1_id) is None:
                raise FormatError(f"has {v1_id[:100]!r}, which is no v1 ID")
            if not isinstance(image_id, str) or DIGEST.fullmatch(image_id) is None:
                raise FormatError(f"has {str(image_id)[:100]!r} for {v1_id}, which is no image ID")
            images[v1_id] = image_id
            if v1_id not in legacy and (other := _alike(v1_id, legacy - values.keys())):
                raise FormatError(f"has {v1_id}, where the legacy image is {other}")
            if untouched and image_id not in store.present:
                raise FormatError(f"has {image_id} for {v1_id}, which is not there")
    return images, tuple(findings)


def _alike(v1_id: str, others: Set[str]) -> str | None:
    """One of the other IDs that differs in one digit alone, as a damaged one does."""
    return next((o for o in others if sum(map(str.__ne__, v1_id, o)) == 1), None)
