"""Where a name leads inside a layer's directory, taken as if that were `/`.

Symbolic links on the way are followed inside it, absolute ones from it, and
`..` stops at it. The kernel's own way to do that (openat2(2),
RESOLVE_IN_ROOT) is younger than the hosts that ran Docker 1.9, and ends at
PATH_MAX.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from typing import NamedTuple

from migrator.tree.descent import Descent

# The kernel's own limit (MAXSYMLINKS).
_MAX_LINKS = 40


class Step(NamedTuple):
    """A link on the way, or, as the last step and no link, where the name leads.

    `path` is where it stands below the root, `name` its own in the directory in
    which the descent is meanwhile.
    """

    path: bytes
    name: bytes
    status: os.stat_result


def below(name: bytes) -> bytes:
    """`name` as a clean path below the root, without looking at links; `b""` is the root."""
    return posixpath.normpath(b"/" + name).lstrip(b"/")


def steps(at: Descent, path: bytes) -> Iterator[Step]:
    """The links that are followed on the way to `path`, and where that ends.

    Nothing ends a path that leads to the root itself, or ends in `..`. Moves
    `at`. Raises OSError for what is missing, no directory, or a loop.
    """
    at.enter(b"")
    todo = path.split(b"/")[::-1]
    links = 0
    while todo:
        name = todo.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            if at.path:
                at.up()
            continue
        status = os.lstat(name, dir_fd=at.fd)
        is_link = stat.S_ISLNK(status.st_mode)
        if not is_link and any(part not in (b"", b".") for part in todo):
            at.down(name)
            continue
        yield Step(at.path + b"/" + name if at.path else name, name, status)
        if is_link:
            links += 1
            todo.extend(_target(at, name, links))


def _target(at: Descent, name: bytes, links: int) -> list[bytes]:
    """What the link `name` says, last component first; `at` goes to where it counts from."""
    if links > _MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    target = os.readlink(name, dir_fd=at.fd)
    if target.startswith(b"/"):
        at.enter(b"")
    return target.split(b"/")[::-1]
