"""`image/<driver>/layerdb/mounts/`: the writable layers of containers (Docker 1.10 `layer/`)."""

from __future__ import annotations

from migrator.state.staging import Staging


class Mounts:
    """Registers the writable layers of containers in a stage."""

    def __init__(self, staging: Staging, driver: str) -> None:
        self._staging = staging
        self._base = f"image/{driver}/layerdb/mounts"

    def register(self, container_id: str, parent: str, init_id: str | None) -> None:
        """Register the container's layer, which has the container's own ID.

        `parent` is the chainID of its image, `init_id` its init layer's ID
        when the driver has one.
        """
        path = f"{self._base}/{container_id}"
        if self._staging.present(path):
            return
        self._staging.write(f"{path}/mount-id", container_id.encode())
        if init_id is not None:
            self._staging.write(f"{path}/init-id", init_id.encode())
        self._staging.write(f"{path}/parent", parent.encode())
