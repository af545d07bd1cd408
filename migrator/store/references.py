"""`image/<driver>/repositories.json`: names of images (Docker 1.10 `reference/store.go`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from migrator import gojson
from migrator.errors import FormatError
from migrator.store.stage import Stage
from migrator.system.files import inside, read_file

MAX_FILE = 64 << 20
"""Bytes that a file of references may have: half a million of them."""


class References:
    """Adds references to those that the data root has; an existing one wins."""

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._path = _path(driver)
        self._existing = staging.current(self._path)
        self._repositories: dict[str, dict[str, str]] | None = None

    def add(self, name: str, key: str, image_id: str) -> str | None:
        """Let `key` (`NAME:TAG` or `NAME@DIGEST`) of repository `name` refer to an image.

        Returns None, or the image ID that has the reference already if it is another.
        Raises FormatError when those that are there cannot be read.
        """
        if self._repositories is None:
            self._repositories = _parse(self._existing, self._path)
        other = self._repositories.setdefault(name, {}).setdefault(key, image_id)
        return None if other == image_id else other

    def finish(self) -> None:
        """Stage the file, unless the one that is there says all."""
        repositories = self._repositories or {}
        if self._existing is None:
            self._staging.write(self._path, _encode(repositories))
        elif self._repositories not in (None, _parse(self._existing, self._path)):
            self._staging.replace(self._path, _encode(repositories))


def read_names(data_root: Path, driver: str) -> dict[str, str]:
    """The image IDs by `NAME:TAG` and `NAME@DIGEST` that a data root has. Raises FormatError."""
    path = _path(driver)
    repositories = _parse(read_file(inside(data_root, path), MAX_FILE), path)
    return {key: image_id for keys in repositories.values() for key, image_id in keys.items()}


def without_images(
    raw: bytes | None, path: str, is_gone: Callable[[str], bool]
) -> tuple[bytes, list[str]]:
    """A file without the references to images that are gone, and what these were, sorted.

    Raises FormatError when it is no such file.
    """
    left: dict[str, dict[str, str]] = {}
    dropped: list[str] = []
    for name, keys in _parse(raw, path).items():
        gone = {key for key, image_id in keys.items() if is_gone(image_id)}
        left[name] = {key: image_id for key, image_id in keys.items() if key not in gone}
        dropped += gone
    return _encode(left), sorted(dropped)


def _path(driver: str) -> str:
    return f"image/{driver}/repositories.json"


def _parse(raw: bytes | None, path: str) -> dict[str, dict[str, str]]:
    if raw is None:
        return {}
    try:
        repositories: Any = orjson.loads(raw)["Repositories"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        repositories = None
    if not isinstance(repositories, dict) or not all(
        isinstance(keys, dict) and all(isinstance(i, str) for i in keys.values())
        for keys in repositories.values()
    ):
        raise FormatError("not a list of repositories", subject=path)
    return repositories


def _encode(repositories: Mapping[str, Mapping[str, str]]) -> bytes:
    """As Docker writes it: keys sorted, escaped as Go does."""
    encoded = {
        name: gojson.encode_object({key: gojson.quote(i) for key, i in keys.items()})
        for name, keys in repositories.items()
        if keys
    }
    return gojson.encode_object({"Repositories": gojson.encode_object(encoded)})
