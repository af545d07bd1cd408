"""Removing trees, be they deeper than any path is long, never through a symbolic link.

Errors and the hook are those of `migrator.system.disk`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from migrator.system.disk import operation, remove_directory, remove_file
from migrator.tree.descent import Descent

# Levels of directories; what we stage has less than ten.
_DEEPEST = 50


def remove_tree(path: Path, depth: int = 0) -> None:
    """Remove a directory and all in it, an operation each; it may be gone already.

    Never through a symbolic link; one that stands at `path` goes away itself. At a
    `depth` that nothing of ours has, what is below is one operation.
    """
    if _remove_other(path):
        return
    if depth > _DEEPEST:
        remove_layers(path)
        return
    with operation("list", path), os.scandir(path) as entries:
        children = [(entry.is_dir(follow_symlinks=False), entry.path) for entry in entries]
    for is_directory, child in children:
        if is_directory:
            remove_tree(Path(child), depth + 1)
        else:
            remove_file(Path(child))
    remove_directory(path)


def remove_layers(path: Path) -> None:
    """Remove a directory of layers' trees, which may be nested deeper than any path is long.

    One operation for all that is in it. As `remove_tree` otherwise.
    """
    if _remove_other(path):
        return
    with operation("remove", path), Descent(path) as at:
        waiting = [_remove_files(at.fd)]
        while waiting:
            if waiting[-1]:
                at.down(waiting[-1][-1])
                waiting.append(_remove_files(at.fd))
                continue
            waiting.pop()
            if waiting:
                at.up()
                os.rmdir(waiting[-1].pop(), dir_fd=at.fd)
    remove_directory(path)


def _remove_other(path: Path) -> bool:
    """Whether no directory is at `path`; what is there instead is removed."""
    with operation("stat", path):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return True
    if stat.S_ISDIR(mode):
        return False
    remove_file(path)
    return True


def _remove_files(directory: int) -> list[bytes]:
    """Remove all but the directories in a directory; returns the names of those."""
    directories = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(os.fsencode(entry.name))
            else:
                os.unlink(entry.name, dir_fd=directory)
    return directories
