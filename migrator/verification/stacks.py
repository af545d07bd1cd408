"""What belongs to a layer in `overlay2/` beside its files (Docker daemon/graphdriver/overlay2).

From `lower` the driver makes the mount of a container; a short name that is
wrong in it shows the files of another layer. It may also lead to a second copy
of the right one: BuildKit builds on what is in its cache, and of a layer that
the layerdb has got already only what was built on it comes into that (Docker
20.10 layer/migration.go, RegisterByGraphID).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from migrator.errors import FormatError, Subject
from migrator.store import overlay2
from migrator.store.findings import Finding, Findings
from migrator.store.layerdb import LayerStore, StoredLayer
from migrator.store.lines import DIRECTORY_NAME, line
from migrator.store.mounts import Mount
from migrator.system.rootfiles import MissingFileError, RootFiles

# As many short names as the kernel takes layers, and more.
_MAX_LOWER = 1 << 14

_TARGET = re.compile(rf"\.\./({DIRECTORY_NAME.pattern})/diff")


def check_stacks(
    files: RootFiles, store: LayerStore, mounts: Mapping[str, Mount]
) -> tuple[list[StoredLayer], tuple[Finding, ...]]:
    """Check the short names of all layers, and that they are stacked as the layerdb says.

    Returns what is wrong, and the second copies that are in a stack: the layer, with the
    copy's directory as cache-id. Whether they have its files is for the caller to check.
    """
    findings = Findings()
    check = _Check(files, store, findings)
    for chain, layer in store.layers.items():
        check.directory(Subject.LAYER, chain, layer.cache_id, check.below(layer.parent))
    for container, mount in mounts.items():
        if mount.directories is None:
            continue
        mount_id, init_id = mount.directories
        layers = check.below(mount.parent)
        if init_id is not None:
            check.directory(Subject.CONTAINER, container, init_id, layers)
        check.directory(Subject.CONTAINER, container, mount_id, layers, init_id)
    return list(check.copies.values()), tuple(findings)


class _Check:
    def __init__(self, files: RootFiles, store: LayerStore, findings: Findings) -> None:
        self._files = files
        self._store = store
        self._findings = findings
        self._links: dict[str, str] = {}
        self._held = {layer.cache_id for layer in store.layers.values()}
        self.copies: dict[str, StoredLayer] = {}

    def directory(
        self,
        about: Subject,
        name: str,
        directory: str,
        layers: Sequence[StoredLayer] | None,
        init: str | None = None,
    ) -> None:
        """Check one layer's directory; `layers` are those below it, if all are known.

        The directory `init` lies between it and them, if there is one.
        """
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
            names = self._lower(directory)
            if layers is None or (init is not None and not self.link(init)):
                return
            top = [] if init is None else [self.link(init)]
            if names[: len(top)] != top or not self._is_stack(names[len(top) :], layers):
                raise FormatError("does not name the layers that are below in the layerdb")

    def below(self, chain: str | None) -> list[StoredLayer] | None:
        """A layer and all below it; None if one of them is damaged, as is said of that one."""
        found: list[StoredLayer] = []
        while chain is not None:
            layer = self._store.layers.get(chain)
            if layer is None or len(found) > _MAX_LOWER or not self.link(layer.cache_id):
                return None
            found.append(layer)
            chain = layer.parent
        return found

    def link(self, directory: str) -> str:
        """A directory's short name; empty if it has none, which is found for itself."""
        if directory not in self._links:
            path = f"{overlay2.NAME}/{directory}/link"
            try:
                self._links[directory] = line(self._files, path, overlay2.SHORT_NAME, "short name")
            except FormatError:
                self._links[directory] = ""
        return self._links[directory]

    def _is_stack(self, names: list[str], layers: Sequence[StoredLayer]) -> bool:
        return len(names) == len(layers) and all(
            name == self.link(layer.cache_id) or self._is_copy(name, names[at + 1 :], layer)
            for at, (name, layer) in enumerate(zip(names, layers, strict=True))
        )

    def _is_copy(self, name: str, below: list[str], layer: StoredLayer) -> bool:
        """Whether a short name may be that of a second copy of a layer, on the names `below`."""
        try:
            target = _TARGET.fullmatch(self._files.link(f"{overlay2.NAME}/{overlay2.LINKS}/{name}"))
            if target is None or target[1] in self._held or self.link(target[1]) != name:
                return False
            if self._lower(target[1]) != below:
                return False
        except FormatError:
            return False
        if not self._files.is_directory(f"{overlay2.NAME}/{target[1]}/diff"):
            return False
        self.copies[target[1]] = dataclasses.replace(layer, cache_id=target[1])
        return True

    def _lower(self, directory: str) -> list[str]:
        """The short names of the layers below a directory, nearest first. Raises FormatError."""
        try:
            lower = self._files.read(f"{overlay2.NAME}/{directory}/lower", _MAX_LOWER)
        except MissingFileError:
            return []
        names = lower.decode("ascii", "replace").split(":")
        prefix = f"{overlay2.LINKS}/"
        if not all(
            name.startswith(prefix) and overlay2.SHORT_NAME.fullmatch(name.removeprefix(prefix))
            for name in names
        ):
            raise FormatError("does not name the layers that are below in the layerdb")
        return [name.removeprefix(prefix) for name in names]
