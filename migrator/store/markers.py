"""The two files by which Docker 1.10 to 18.09 knows that a data root is migrated.

`.migration-v1-images.json` maps v1 IDs to image IDs, `.migration-v1-tags` is
empty (Docker 1.10 `migrate/v1/migratev1.go`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import orjson

from migrator.errors import FormatError
from migrator.store.stage import Stage
from migrator.system.files import read_file

IMAGES = ".migration-v1-images.json"
TAGS = ".migration-v1-tags"

_MAX_MAP = 32 << 20


def stage_markers(staging: Stage, images: Mapping[str, str]) -> None:
    """Stage both; a map that says something else is replaced by `images`, which includes it."""
    data = orjson.dumps(images, option=orjson.OPT_SORT_KEYS)
    current = staging.current(IMAGES)
    if current is None:
        staging.write(IMAGES, data)
    elif not _says(current, images):
        staging.replace(IMAGES, data)
    if not staging.present(TAGS):
        staging.write(TAGS, b"")


def read_image_map(data_root: Path) -> dict[str, str] | None:
    """The map of a data root, v1 ID to image ID; None when it has none.

    Raises FormatError when it is not such a map, PermissionDenied when only root may read it.
    """
    path = data_root / IMAGES
    raw = read_file(path, _MAX_MAP)
    if raw is None:
        return None
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise FormatError(f"not valid JSON ({error.msg})", subject=str(path)) from None
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise FormatError("not a map of v1 IDs to image IDs", subject=str(path))
    return values


def is_migrated(data_root: Path) -> bool:
    """Whether both markers say that a migration, ours or Docker's, was completed."""
    return read_image_map(data_root) is not None and os.path.lexists(data_root / TAGS)


def _says(raw: bytes, images: Mapping[str, str]) -> bool:
    try:
        return bool(orjson.loads(raw) == images)
    except orjson.JSONDecodeError:
        return False
