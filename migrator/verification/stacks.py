"""What belongs to a layer in `overlay2/` beside its files (Docker daemon/graphdriver/overlay2).

From `lower` the driver makes the mount of a container; a short name that is
wrong in it shows the files of another layer.
"""

from __future__ import annotations

from collections.abc import Mapping

from migrator.errors import FormatError, Subject
from migrator.store import overlay2
from migrator.verification.files import MissingFileError, RootFiles
from migrator.verification.findings import Findings
from migrator.verification.layers import LayerStore, line
from migrator.verification.mounts import Mount

# As many short names as the kernel takes layers, and more.
_MAX_LOWER = 1 << 14


def check_stacks(
    files: RootFiles, store: LayerStore, mounts: Mapping[str, Mount], findings: Findings
) -> None:
    """Check the short names of all layers, and that they are stacked as the layerdb says."""
    check = _Check(files, store, findings)
    for chain, layer in store.layers.items():
        check.directory(Subject.LAYER, chain, layer.cache_id, check.stack(layer.parent))
    for container, mount in mounts.items():
        if mount.directories is None:
            continue
        mount_id, init_id = mount.directories
        stack = check.stack(mount.parent)
        if init_id is not None:
            check.directory(Subject.CONTAINER, container, init_id, stack)
            stack = None if stack is None else (check.link(init_id), *stack)
        check.directory(Subject.CONTAINER, container, mount_id, stack)


class _Check:
    def __init__(self, files: RootFiles, store: LayerStore, findings: Findings) -> None:
        self._files = files
        self._store = store
        self._findings = findings
        self._links: dict[str, str] = {}

    def directory(
        self, about: Subject, name: str, directory: str, stack: tuple[str, ...] | None
    ) -> None:
        """Check one layer's directory; `stack` are the short names below it, if all are known."""
        path = f"{overlay2.NAME}/{directory}/link"
        with self._findings.noting(about, name, path):
            link = line(self._files, path, overlay2.SHORT_NAME, "short name")
            path = f"{overlay2.NAME}/{overlay2.LINKS}/{link}"
            with self._findings.noting(about, name, path):
                target = self._files.link(path)
                if target != f"../{directory}/diff":
                    raise FormatError(f"leads to {target[:100]!r}, not to ../{directory}/diff")
        path = f"{overlay2.NAME}/{directory}/lower"
        with self._findings.noting(about, name, path):
            lower = self._lower(path)
            if stack is not None and lower != overlay2.lower(stack):
                raise FormatError("does not name the layers that are below in the layerdb")

    def stack(self, chain: str | None) -> tuple[str, ...] | None:
        """The short names of a layer and all below it; None if one of them is damaged."""
        found: list[str] = []
        while chain is not None:
            layer = self._store.layers.get(chain)
            if layer is None or len(found) > _MAX_LOWER:
                return None
            found.append(self.link(layer.cache_id))
            chain = layer.parent
        return tuple(found) if all(found) else None

    def link(self, directory: str) -> str:
        """A directory's short name; empty if it has none, which is found for itself."""
        if directory not in self._links:
            path = f"{overlay2.NAME}/{directory}/link"
            try:
                self._links[directory] = line(self._files, path, overlay2.SHORT_NAME, "short name")
            except FormatError:
                self._links[directory] = ""
        return self._links[directory]

    def _lower(self, path: str) -> str:
        try:
            return self._files.read(path, _MAX_LOWER).decode("ascii", "replace")
        except MissingFileError:
            return ""
