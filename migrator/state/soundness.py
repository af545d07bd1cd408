"""Whether a state directory is one that we made: looked at before anything in it is used.

A data root may come from anybody, its state directory with it. What SQLite, a
rename or a removal is to be given must not lead elsewhere, nor block or fill
the memory of who reads it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from migrator.errors import FormatError
from migrator.system.files import refusal
from migrator.text import shown

MAX_PHASE = 64
MAX_LINES = 64 << 20
"""Bytes that `built.jsonl`, or `left_out.json`, may have: some hundred thousand lines."""
MAX_MANIFEST = 1 << 30
"""A store with 100,000 containers has a third of that."""
MAX_JOURNAL = 1 << 30

_DIRECTORIES = ("stage", "saved", "records", "trees")
_FILES = {
    "phase": MAX_PHASE,
    "manifest.json": MAX_MANIFEST,
    "built.jsonl": MAX_LINES,
    "left_out.json": MAX_LINES,
    # All that SQLite opens of its own accord.
    **{f"journal.db{suffix}": MAX_JOURNAL for suffix in ("", "-journal", "-wal", "-shm")},
}

_HINT = "migrator did not make it so: look at it, and remove it if you do not need it"
_OWNER_HINT = "look at it: if it is what migrator made, give it to {} (chown), else remove it"


def check_state(directory: Path) -> bool:
    """Whether there is this state directory.

    Raises FormatError when it is something else or another user's, or if that is so
    of a thing in it; PermissionDenied when only root can tell.
    """
    status = _status(directory)
    if status is None:
        return False
    _check_directory(directory, status)
    for name in _DIRECTORIES:
        if (status := _status(directory / name)) is not None:
            _check_directory(directory / name, status)
    for name, limit in _FILES.items():
        if (status := _status(directory / name)) is not None:
            _check_file(directory / name, status, limit)
    return True


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(error, path) from None


def _check_directory(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise _not_ours(path, status, "a directory")
    _check_owner(path, status)


def _check_file(path: Path, status: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _not_ours(path, status, "a regular file")
    if status.st_size > limit:
        reason = f"has {status.st_size} bytes, more than migrator ever writes there"
        raise FormatError(reason, subject=shown(str(path)), hint=_HINT)
    _check_owner(path, status)


def _check_owner(path: Path, status: os.stat_result) -> None:
    mine = os.geteuid()
    if status.st_uid not in (0, mine):
        raise FormatError(
            f"belongs to another user (uid {status.st_uid})",
            subject=shown(str(path)),
            hint=_OWNER_HINT.format(f"uid {mine}" if mine else "root"),
        )


def _not_ours(path: Path, status: os.stat_result, wanted: str) -> FormatError:
    link = " but a symbolic link" if stat.S_ISLNK(status.st_mode) else ""
    return FormatError(f"is not {wanted}{link}", subject=shown(str(path)), hint=_HINT)
