"""What the layers' directories take up on the disk, by the way in which files come there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from migrator.conversion.building import TreeTask
from migrator.drivers import Driver
from migrator.migration.space import NOTHING, Need, block_size, check_space
from migrator.system.host import file_system_type
from migrator.tree.overlaydir import Transfer

# Directories and other files around a layer's own, some to spare.
_FILES_A_LAYER = 12

# Of a layer's entries, those that are directories, at most about.
_DIRECTORIES = 3


def need_of(transfer: Transfer, size: int, entries: int, block: int) -> Need:
    """What a layer of `entries` entries needs that have `size` bytes of content."""
    directories = entries // _DIRECTORIES + _FILES_A_LAYER
    if transfer is Transfer.LINK:
        return Need(directories * block, directories)
    files = entries + directories
    return Need(files * block + (size if transfer is Transfer.COPY else 0), files)


def expected_transfer(driver: Driver, layer: str, directory: Path) -> Transfer:
    """How files come from a layer into `directory`, as far as it shows without trying."""
    if driver.files is None:
        return Transfer.COPY
    try:
        here = driver.layer_root(layer).lstat().st_dev == directory.lstat().st_dev
    except OSError:
        return Transfer.COPY
    if here:
        return Transfer.LINK
    # Its subvolumes are devices of their own, and no link leads from one to another.
    kinds = {file_system_type(each) for each in (driver.layer_root(layer), directory)}
    return Transfer.REFLINK if kinds == {"btrfs"} else Transfer.COPY


def expected_need(driver: Driver, layers: Iterable[tuple[str, int, int]], directory: Path) -> Need:
    """About what layers (ID, bytes, entries) take up in `directory`; containers come on top."""
    block = block_size(directory)
    needs = [
        need_of(expected_transfer(driver, layer, directory), size, entries, block)
        for layer, size, entries in layers
    ]
    return sum(needs, NOTHING)


class TreeSpace:
    """What is still to be built, compared with what the disk has."""

    def __init__(self, path: Path, tasks: Iterable[TreeTask]) -> None:
        block = block_size(path)
        self._path = path
        self._needs = {
            task.name: need_of(task.transfer, task.size, task.entries, block)
            for task in tasks
            if task.known is None
        }
        self.need = sum(self._needs.values(), NOTHING)
        """What is still to be written."""

    def built(self, name: str) -> None:
        """A directory is done."""
        self.need -= self._needs.pop(name, NOTHING)

    def check(self) -> None:
        """Raise StoreError when the file system has less than what is needed."""
        check_space(self._path, self.need)
