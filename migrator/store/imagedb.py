"""`image/<driver>/imagedb/`: image configs and their parents (Docker 1.10 `image/fs.go`)."""

from __future__ import annotations

from migrator.layer.identity import hex_part, sha256_digest
from migrator.store.stage import Stage


class ImageDB:
    """Adds images to a stage.

    Two v1 images can end in one image ID; the parent of the last one counts,
    so parents are written at the end, by `finish`.
    """

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._base = f"image/{driver}/imagedb"
        self._added: set[str] = set()
        self._parents: dict[str, str] = {}

    def add(self, config: bytes, parent: str | None) -> str:
        """Add the image with this config on the image `parent`; returns its image ID."""
        image_id = sha256_digest(config)
        path = f"{self._base}/content/sha256/{hex_part(image_id)}"
        if image_id not in self._added and not self._staging.present(path):
            self._staging.write(path, config)
        self._added.add(image_id)
        if parent is not None:
            self._parents[image_id] = parent
        return image_id

    def finish(self) -> None:
        """Write the parents; one that the data root has already stays."""
        for image_id, parent in self._parents.items():
            path = f"{self._base}/metadata/sha256/{hex_part(image_id)}/parent"
            if not self._staging.present(path):
                self._staging.write(path, parent.encode())
