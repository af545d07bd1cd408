"""`image/<driver>/layerdb/mounts/`: the writable layers of containers (Docker 1.10 `layer/`)."""

from __future__ import annotations

from migrator.store.stage import Stage


class Mounts:
    """Registers the writable layers of containers in a stage."""

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._base = f"image/{driver}/layerdb/mounts"

    def register(
        self, container_id: str, parent: str | None, mount_id: str, init_id: str | None
    ) -> bool:
        """Register the layer `mount_id` as the container's; whether it had none before.

        `parent` is the chainID of its image, None for an image without layers;
        `init_id` is its init layer, when the driver has one.
        """
        path = f"{self._base}/{container_id}"
        if self._staging.present(path):
            return False
        parts = {"mount-id": mount_id, "init-id": init_id, "parent": parent}
        for name, value in parts.items():
            if value is not None:
                self._staging.write(f"{path}/{name}", value.encode())
        return True
