"""Every change that migrator makes to a file system, one function each.

They are in one place so that tests can fail or kill the process at each of
them: `hook`, when set, is called with the operation's name and path before it
is done. Errors come out as `StoreError` that names the path; a full disk says
so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from migrator.errors import PermissionDenied, StoreError

hook: Callable[[str, Path], None] | None = None


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Create one directory."""
    with _operation("mkdir", path):
        path.mkdir(mode)


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Create a file that must not exist yet."""
    with _operation("write", path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(fd, "wb") as file:
            file.write(data)


def link_or_copy(source: Path, path: Path) -> None:
    """Hard-link `source` to `path`; where file systems differ or forbid it, copy."""
    with _operation("link", path):
        try:
            os.link(source, path, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                raise
            shutil.copyfile(source, path, follow_symlinks=False)


def replace(source: Path, path: Path) -> None:
    """Rename `source` to `path`, over a file that may be there, atomically."""
    with _operation("rename", path):
        source.replace(path)


def remove_file(path: Path) -> None:
    """Remove a file; it may be gone already."""
    with _operation("unlink", path):
        path.unlink(missing_ok=True)


def remove_directory(path: Path) -> None:
    """Remove an empty directory."""
    with _operation("rmdir", path):
        path.rmdir()


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it, never through a symbolic link; it may be gone already."""
    if not path.is_symlink() and path.is_dir():
        with os.scandir(path) as entries:
            children = [(entry.is_dir(follow_symlinks=False), entry.path) for entry in entries]
        for is_directory, child in children:
            if is_directory:
                remove_tree(Path(child))
            else:
                remove_file(Path(child))
        remove_directory(path)


def flush(path: Path) -> None:
    """Wait until a file's content, or a directory's entries, are on the disk."""
    with _operation("fsync", path):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the content of `path` as a whole, on the disk when this returns."""
    aside = path.with_name(path.name + ".new")
    remove_file(aside)
    write_file(aside, data, mode)
    flush(aside)
    replace(aside, path)
    flush(path.parent)


@contextlib.contextmanager
def _operation(name: str, path: Path) -> Iterator[None]:
    try:
        if hook is not None:
            hook(name, path)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                "the disk is full",
                subject=str(path),
                hint="free some space and run the same command again; it goes on where it stopped",
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
            raise PermissionDenied(
                f"{name} is not permitted", subject=str(path), hint="run it as root (sudo)"
            ) from None
        raise StoreError(f"{name} failed ({error.strerror or error})", subject=str(path)) from None
