"""`image/<driver>/repositories.json`: names of images (Docker 1.10 `reference/store.go`)."""

from __future__ import annotations

from typing import Any

import orjson

from migrator import gojson
from migrator.errors import FormatError
from migrator.store.stage import Stage


class References:
    """Adds references to those that the data root has; an existing one wins."""

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._path = f"image/{driver}/repositories.json"
        self._existing = staging.current(self._path)
        self._repositories = self._parse(self._existing)

    def add(self, name: str, key: str, image_id: str) -> str | None:
        """Let `key` (`NAME:TAG` or `NAME@DIGEST`) of repository `name` refer to an image.

        Returns None, or the image ID that has the reference already if it is another.
        """
        other = self._repositories.setdefault(name, {}).setdefault(key, image_id)
        return None if other == image_id else other

    def finish(self) -> None:
        """Stage the file."""
        data = self._encode()
        if self._existing is None:
            self._staging.write(self._path, data)
        elif self._existing != data:
            self._staging.replace(self._path, data)

    def _parse(self, raw: bytes | None) -> dict[str, dict[str, str]]:
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
            raise FormatError("not a list of repositories", subject=self._path)
        return repositories

    def _encode(self) -> bytes:
        """As Docker writes it: keys sorted, escaped as Go does."""
        repositories = {
            name: gojson.encode_object({key: gojson.quote(i) for key, i in keys.items()})
            for name, keys in self._repositories.items()
            if keys
        }
        return gojson.encode_object({"Repositories": gojson.encode_object(repositories)})
