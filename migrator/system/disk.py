"""Every change that migrator makes to a file system, one function each; see `tree.removal`, too.

They are in one place so that tests can fail or kill the process at each of
them: `hook`, when set, is called with the operation's name and path before it
is done, and after it with `done` added to the name. Errors come out as
`StoreError` that names the path; a full disk says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from migrator.errors import PermissionDenied, StoreError
from migrator.system.capabilities import remedy
from migrator.system.files import open_regular, regular_status
from migrator.system.host import file_system_type

hook: Callable[[str, Path], None] | None = None

_libc = ctypes.CDLL(None, use_errno=True)

_SYNCFS_TELLS_ERRORS = (5, 8)
# Directories that are flushed one by one; a file system may have much else to write.
_FLUSHED_EACH = 64
_ON_LOCAL_DISKS = frozenset(("ext3", "ext4", "xfs", "btrfs"))


@contextlib.contextmanager
def operation(name: str, path: Path) -> Iterator[None]:
    """What is done inside is one operation on `path`; an OSError in it becomes a StoreError."""
    try:
        if hook is not None:
            hook(name, path)
        yield
        if hook is not None:
            hook(f"{name} done", path)
    except OSError as error:
        raise _failure(name, path, error) from None


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Create one directory."""
    with operation("mkdir", path):
        path.mkdir(mode)


def write_file(
    path: Path, data: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None
) -> None:
    """Create a file that must not exist yet, with exactly this mode; `owner` is uid and gid."""
    with operation("create", path):
        file = open(path, "xb", opener=_private)  # noqa: SIM115 (closed below)
    with operation("write", path), file:
        if owner is not None:
            os.fchown(file.fileno(), *owner)
        # After the change of owner, which clears setuid and setgid.
        os.fchmod(file.fileno(), mode)
        file.write(data)


def link_or_copy(source: Path, path: Path) -> None:
    """Hard-link `source` to `path`; where that is not possible, copy it with all its metadata.

    Raises FormatError unless `source` is a regular file.
    """
    with operation("link", path):
        status = regular_status(source)
        try:
            os.link(source, path, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                raise
            with (
                open(open_regular(source), "rb") as original,
                open(path, "xb", opener=_private) as copy,
            ):
                shutil.copyfileobj(original, copy)
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
            shutil.copystat(source, path, follow_symlinks=False)


def replace(source: Path, path: Path) -> None:
    """Rename `source` to `path`, over a file that may be there, atomically."""
    with operation("rename", path):
        source.replace(path)


def remove_file(path: Path) -> None:
    """Remove a file; it may be gone already."""
    with operation("unlink", path):
        path.unlink(missing_ok=True)


def remove_directory(path: Path) -> None:
    """Remove an empty directory."""
    with operation("rmdir", path):
        path.rmdir()


def make_link(path: Path, target: str) -> None:
    """Create a symbolic link that says `target`."""
    with operation("symlink", path):
        path.symlink_to(target)


def flush(path: Path) -> None:
    """Wait until a file's content, or a directory's entries, are on the disk."""
    with operation("fsync", path):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def flush_file_system(path: Path) -> None:
    """Wait until all that was written to the file system of `path` is on the disk."""
    with operation("syncfs", path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.syncfs(fd):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(fd)


def flush_all(paths: Iterable[Path]) -> None:
    """Wait until the entries of these directories, all in one file system, are on the disk.

    For very many one wait for the whole file system takes far less time.
    """
    directories = list(paths)
    if len(directories) > _FLUSHED_EACH and syncfs_tells_errors(directories[0]):
        flush_file_system(directories[0])
        return
    for directory in directories:
        flush(directory)


def syncfs_tells_errors(path: Path) -> bool:
    """Whether `flush_file_system` fails when something written before could not be.

    Linux does so since 5.8 (syncfs(2)). Of file systems that are not on a disk
    of this host (FUSE, NFS) or on another one (overlay) nothing is known.
    """
    return _kernel_version() >= _SYNCFS_TELLS_ERRORS and file_system_type(path) in _ON_LOCAL_DISKS


def write_atomically(
    path: Path, data: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None
) -> None:
    """Replace the content of `path` as a whole, on the disk when this returns."""
    aside = path.with_name(path.name + ".new")
    remove_file(aside)
    write_file(aside, data, mode, owner)
    flush(aside)
    replace(aside, path)
    flush(path.parent)


def _kernel_version() -> tuple[int, ...]:
    """Major and minor number."""
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _failure(name: str, path: Path, error: OSError) -> StoreError | PermissionDenied:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            "the disk is full",
            subject=str(path),
            hint="free some space and run the same command again; it goes on where it stopped",
        )
    if hint := remedy(error):
        return PermissionDenied(f"{name} is not permitted", subject=str(path), hint=hint)
    return StoreError(f"{name} failed ({error.strerror or error})", subject=str(path))
