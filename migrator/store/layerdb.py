"""`image/<driver>/layerdb/sha256/<chainID>/`: the layers (Docker 1.10 `layer/filestore.go`)."""

from __future__ import annotations

from pathlib import Path

from migrator.layer.identity import chain_id, hex_part
from migrator.store.stage import Stage
from migrator.system.files import is_regular

# All but the cache-id; a foreign layer has a descriptor.
_CARRIED = ("diff", "size", "parent", "tar-split.json.gz", "descriptor.json")


class LayerDB:
    """Registers layers in a stage, each chainID once: the first to come keeps it."""

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._base = f"image/{driver}/layerdb/sha256"
        self._registered: set[str] = set()

    def register(
        self, parent: str | None, diff_id: str, size: int, cache_id: str, record: Path
    ) -> tuple[str, bool]:
        """Register the layer `diff_id` on the chain `parent` (None: at the bottom).

        `size` in bytes; `cache_id` names the driver's directory; `record` is
        the layer's tar-split record. Returns the chainID and whether it is new.
        """
        chain = chain_id(parent, diff_id)
        path = f"{self._base}/{hex_part(chain)}"
        if chain in self._registered or self._staging.present(path):
            return chain, False
        self._registered.add(chain)
        write = self._staging.write
        write(f"{path}/cache-id", cache_id.encode())
        write(f"{path}/diff", diff_id.encode())
        write(f"{path}/size", b"%d" % size)
        if parent is not None:
            write(f"{path}/parent", parent.encode())
        self._staging.link(f"{path}/tar-split.json.gz", record)
        return chain, True

    def cache_id(self, chain: str) -> str:
        """What names the directory of a layer that is registered; empty if nothing does."""
        found = self._staging.current(f"{self._base}/{hex_part(chain)}/cache-id") or b""
        return found.decode("utf-8", "replace")

    def move(self, chain: str, cache_id: str) -> None:
        """Have another directory hold the content of a layer that is registered."""
        self._staging.replace(f"{self._base}/{hex_part(chain)}/cache-id", cache_id.encode())

    def carry(self, chain: str, cache_id: str, source: Path) -> bool:
        """Register a layer as it is in another driver's store; whether it is new.

        `source` is its directory there, which was checked; `cache_id` names the
        new driver's directory.
        """
        path = f"{self._base}/{hex_part(chain)}"
        if self._staging.present(path):
            return False
        self._staging.write(f"{path}/cache-id", cache_id.encode())
        for name in _CARRIED:
            if is_regular(source / name):
                self._staging.link(f"{path}/{name}", source / name)
        return True
