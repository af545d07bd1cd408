"""What every storage driver tells about the layers below `<data root>/<driver>/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from migrator.errors import DriverError
from migrator.files import is_directory
from migrator.layer.changes import DiffSource


class Driver(ABC):
    """A storage driver's directory, read only.

    A driver keeps nothing but paths and options, so that it can be sent to
    another process. A layer ID is a v1 ID, or a container's ID with or
    without `-init`. All methods that look at the disk raise PermissionDenied
    when only root may look, FormatError when nobody can.
    """

    name: ClassVar[str]
    complete_trees: ClassVar[bool] = True
    """Whether a layer's directory holds the files of its ancestors, too."""
    options: ClassVar[frozenset[str]] = frozenset()
    """The storage options that it understands."""

    def __init__(self, data_root: Path, storage_opts: Iterable[str] = ()) -> None:
        """`storage_opts` are `KEY=VALUE` as the daemon takes them; raises DriverError."""
        self.directory = data_root / self.name
        self.storage_opts = {}
        for option in storage_opts:
            key, _, value = option.partition("=")
            if key not in self.options:
                raise DriverError(f"the {self.name} driver has no storage option {key!r}")
            self.storage_opts[key] = value

    @abstractmethod
    def layer_root(self, layer: str) -> Path:
        """The directory below which the paths of the layer's tar-split record lie."""

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
        """How to make the layer's diff anew; both layers must exist."""
        root = self.layer_root(layer)
        if parent is None:
            return DiffSource("tree", root)
        return DiffSource("compare", root, self.layer_root(parent))

    def prepared(self, *layers: str) -> AbstractContextManager[None]:
        """Have the files of these layers reachable, mounted if need be, during a `with`."""
        return nullcontext()
