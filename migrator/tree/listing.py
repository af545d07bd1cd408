"""What one directory of a layer says, in the words of its storage driver."""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from migrator.tree import aufsbranch
from migrator.tree.descent import Descent
from migrator.tree.xattrs import is_opaque, path_at


class OwnKind(enum.Enum):
    """What a layer does to a path."""

    ENTRY = enum.auto()
    """Whatever stands there in the source directory; a directory joins the one below."""
    OPAQUE = enum.auto()
    """A directory of the source, of which nothing below shows through."""
    WHITEOUT = enum.auto()
    """Nothing is there any more; the source has nothing to take."""


class Item(NamedTuple):
    """A name in a directory; `kind` is None for what the driver does not show."""

    name: str
    inode: int
    is_directory: bool
    kind: OwnKind | None


Lister = Callable[[Descent, bool], list[Item]]
"""Lists the directory that a descent stands in; raises OSError, LayerError.

The flag says that nothing underneath shows through in it. overlayfs does not
merge such a directory, and would show a whiteout in it as a name: there are none.
"""


def list_tree(at: Descent, alone: bool) -> list[Item]:
    """A directory of a complete tree."""
    with os.scandir(at.fd) as entries:
        return [
            Item(entry.name, entry.inode(), entry.is_dir(follow_symlinks=False), OwnKind.ENTRY)
            for entry in entries
        ]


def list_upper(at: Descent, alone: bool) -> list[Item]:
    """A directory of an upper directory of overlayfs (Linux Documentation/filesystems/overlayfs).

    Devices 0/0 are whiteouts, an attribute makes opaque.
    """
    items = []
    with os.scandir(at.fd) as entries:
        for entry in entries:
            is_directory = entry.is_dir(follow_symlinks=False)
            kind = OwnKind.ENTRY
            if is_directory:
                if is_opaque(path_at(at.fd, os.fsencode(entry.name))):
                    kind = OwnKind.OPAQUE
            elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    if alone:
                        continue
                    kind = OwnKind.WHITEOUT
            items.append(Item(entry.name, entry.inode(), is_directory, kind))
    return items


def branch_lister(branches: tuple[Path, ...]) -> Lister:
    """Lists a directory of an aufs branch that lies on `branches`, nearest first.

    Where a branch has both a file and its whiteout, which aufs never leaves but
    a tar may, the whiteout is for what is underneath.
    """
    below = aufsbranch.Below(branches)

    def list_branch(at: Descent, alone: bool) -> list[Item]:
        alone = alone or not branches
        top = not at.path
        items = []
        names = set()
        gone = set()
        with os.scandir(at.fd) as entries:
            for entry in entries:
                is_directory = entry.is_dir(follow_symlinks=False)
                kind: OwnKind | None = OwnKind.ENTRY
                if aufsbranch.is_marker(entry.name):
                    kind = None
                    gone.add(aufsbranch.deleted(entry.name, top))
                names.add(entry.name)
                items.append(Item(entry.name, entry.inode(), is_directory, kind))
        opaque_top = top and aufsbranch.is_opaque(at.fd)
        for number, item in enumerate(items):
            if item.is_directory and item.kind is not None:
                hidden = opaque_top or item.name in gone
                if hidden or aufsbranch.is_opaque(at.fd, item.name):
                    items[number] = item._replace(kind=OwnKind.OPAQUE)
        if opaque_top:
            # overlayfs asks no root directory whether it is opaque.
            gone |= below.names_at_top()
        gone -= names
        if gone and not alone and below.has_directory(at.path):
            whiteouts = (name for name in gone if name is not None)
            items += (Item(name, 0, False, OwnKind.WHITEOUT) for name in whiteouts)
        return items

    return list_branch
