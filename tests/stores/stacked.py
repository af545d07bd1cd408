"""Layers stacked by the kernel's overlayfs, what is to be seen of a tree, and of aufs branches."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Seen = dict[bytes, dict[str, Any]]


def seen(root: Path, directory_times: bool = True) -> Seen:
    """Everything in a tree, the root (`b""`) included, by path."""
    top = os.fsencode(root)
    result = {b"": _seen_at(top, directory_times)}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            result[path[len(top) + 1 :]] = _seen_at(path, directory_times)
    return result


def aufs_seen(branches: Sequence[Path]) -> Seen:
    """What aufs shows of `branches`, the uppermost first.

    A file beside its own whiteout, which aufs would hide, is shown as in a tar.
    """
    result = {b"": _seen_at(os.fsencode(branches[0]), True)}
    pending = [(b"", [os.fsencode(branch) for branch in branches])]
    while pending:
        path, merged = pending.pop()
        shown: dict[bytes, list[bytes]] = {}
        complete = set()
        for directory in merged:
            names = set(os.listdir(directory))
            markers = {name for name in names if name.startswith(b".wh.")}
            for name in names - markers - complete:
                below = os.path.join(directory, name)
                if not stat.S_ISDIR(os.lstat(below).st_mode):
                    complete.add(name)
                    if name in shown:
                        continue
                shown.setdefault(name, []).append(below)
            complete |= {name[4:] for name in markers}
            if b".wh..wh..opq" in markers:
                break
        for name, places in shown.items():
            child = os.path.join(path, name)
            result[child] = _seen_at(places[0], True)
            if stat.S_ISDIR(os.lstat(places[0]).st_mode):
                pending.append((child, places))
    return result


def _seen_at(path: bytes, directory_times: bool) -> dict[str, Any]:
    status = os.lstat(path)
    what: dict[str, Any] = {
        "mode": oct(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
        "mtime": status.st_mtime_ns,
        "device": status.st_rdev,
        "xattrs": {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
            if not name.startswith("trusted.overlay.")
        },
    }
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            what["content"] = file.read()
    elif stat.S_ISLNK(status.st_mode):
        what["target"] = os.readlink(path)
    elif stat.S_ISDIR(status.st_mode) and not directory_times:
        del what["mtime"]
    return what


@contextmanager
def stacked(layers: Sequence[Path], scratch: Path, upper: Path | None = None) -> Iterator[Path]:
    """The view of `layers`, the uppermost first, on an empty directory; to be written in `upper`.

    Directories can be renamed in it.
    """
    scratch.mkdir(exist_ok=True)
    empty, target, work = (scratch / name for name in ("empty", "view", "work"))
    for directory in (empty, target, work):
        directory.mkdir(exist_ok=True)
    lower = ":".join(map(str, [*layers, empty]))
    options = "ro" if upper is None else f"redirect_dir=on,upperdir={upper},workdir={work}"
    command = ["mount", "-t", "overlay", "-o", f"{options},lowerdir={lower}", "overlay", target]
    subprocess.run(command, check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", target], check=True)
