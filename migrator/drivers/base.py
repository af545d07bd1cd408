"""What every storage driver tells about the layers below `<data root>/<driver>/`."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from migrator.errors import DriverError
from migrator.system.files import is_directory
from migrator.system.worker_pool import Schedule
from migrator.tree.changes import DiffSource
from migrator.tree.ownfiles import OwnFiles


class Driver(ABC):
    """A storage driver's directory, read only.

    The layers are those of a legacy store or of a content-addressed one: a
    layer ID is a v1 ID or a cache-id, or names a container's layer, with or
    without `-init`. All methods that look at the disk raise PermissionDenied
    when only root may look, FormatError when nobody can.

    Files are read in a `with driver.opened():`, which a command enters once, in
    the process that entered it and in those forked from it, and there in a
    `with driver.prepared(layer):`.
    """

    name: ClassVar[str]
    complete_trees: ClassVar[bool] = True
    """Whether layers' directories hold the files of their ancestors, too."""
    options: ClassVar[frozenset[str]] = frozenset()
    """The storage options that it understands."""
    holder: ClassVar[str | None]
    """What exists for every layer and container, relative to the data root, `{}` standing for
    the layer ID; None where nothing shows."""
    files: ClassVar[str | None]
    """Likewise the directory of an image layer's files; None where something must be mounted."""

    def __init__(
        self, data_root: Path, storage_opts: Iterable[str] = (), work_dir: Path | None = None
    ) -> None:
        """`storage_opts` are `KEY=VALUE` as the daemon takes them; raises DriverError.

        `work_dir` is a directory for large temporary files, if a driver needs
        any; by default the driver chooses one.
        """
        self.data_root = data_root
        self.directory = data_root / self.name
        self.work_dir = work_dir
        self.storage_opts = {}
        for option in storage_opts:
            key, _, value = option.partition("=")
            if key not in self.options:
                raise DriverError(f"the {self.name} driver has no storage option {key!r}")
            self.storage_opts[key] = value

    def opened(self) -> AbstractContextManager[None]:
        """Be able to read layers during a `with`; what it takes is cleared away at its end.

        It cannot be entered again meanwhile. Raises DriverError, before any work,
        for what is missing on this machine.
        """
        return nullcontext()

    def settle(self) -> None:  # noqa: B027 (most drivers change nothing)
        """Put right what a killed run left changed; raises DriverError when that cannot be done."""

    def prepared(self, *layers: str) -> AbstractContextManager[None]:
        """Have the files of these layers in their directories during a `with`, mounted if need be.

        Raises LayerError. Of the layers that a process has prepared no other
        than these is there until the end.
        """
        return nullcontext()

    def schedule(self, parents: Mapping[str, str | None], workers: int) -> Schedule:
        """How to read these layers, given with their parents, in `workers` processes at most.

        Raises StoreError when there is no room for what it takes. The driver must be opened.
        """
        return Schedule(workers)

    def version(self, layer: str) -> str | None:
        """What changes whenever the layer's files may have changed; None if only they tell.

        The driver must be opened.
        """
        return None

    def layer_root(self, layer: str) -> Path:
        """The directory below which the paths of the layer's tar-split record lie."""
        assert self.files is not None
        return self.data_root / self.files.format(layer)

    def shown(self, layer: str) -> str:
        """The layer's directory as messages name it."""
        return (self.files or f"{self.name}/{{}}").format(layer)

    def is_complete(self, layer: str) -> bool:
        """Whether an image layer's directory holds the files of its ancestors, too."""
        return self.complete_trees

    def copied_from(self, layer: str, parent: str | None) -> str | None:
        """`parent`, if the layer's directory began as a copy of its directory; else None.

        Raises LayerError.
        """
        return parent if self.complete_trees else None

    def check(self, layer: str) -> None:  # noqa: B027 (most drivers keep no such files)
        """Raise LayerError if what stands beside an image layer's files is damaged."""

    def layer_exists(self, layer: str) -> bool:
        """Whether an image layer's files are there; a symbolic link does not count."""
        root = self.layer_root(layer)
        return is_directory(root.parent) and is_directory(root)

    def container_exists(self, layer: str) -> bool:
        """What Docker's `Driver.Exists` says of a container's layer or init layer."""
        return self.layer_exists(layer)

    def init_layer(self, container: str) -> str | None:
        """The ID of a container's init layer, `<ID>-init`, if the driver has that layer."""
        layer = f"{container}-init"
        return layer if self.container_exists(layer) else None

    def diff_source(self, layer: str, parent: str | None) -> DiffSource:
        """How to make the diff of an image's layer anew; both layers must be prepared."""
        root = self.layer_root(layer)
        if parent is None:
            return DiffSource("tree", root)
        return DiffSource("compare", root, self.layer_root(parent))

    def own_files(self, layer: str, parent: str | None) -> OwnFiles:
        """An image layer's own files, exactly; both layers must be prepared.

        Raises LayerError.
        """
        root = self.layer_root(layer)
        if parent is None:
            return OwnFiles("tree", root)
        return OwnFiles("compare", root, self.layer_root(parent))

    def writable_files(self, layer: str, parent: str | None) -> OwnFiles:
        """Likewise those of a container's layer, or of its init layer.

        `parent` is the init layer, if the container has one, or the image's top layer.
        """
        return self.own_files(layer, parent)
