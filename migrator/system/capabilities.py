"""What the kernel lets this process do beyond what its user may, and what commands need of that.

Root in a container has only some of the capabilities (capabilities(7)). That one is missing
does not always show: without CAP_FSETID, chmod(2) leaves a set-group-ID bit out and succeeds,
without CAP_SYS_ADMIN trusted.* attributes are not even listed (xattr(7)). So they are looked
for before anything is begun.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import re
from collections.abc import Iterable, Set
from pathlib import Path

from migrator.errors import AS_ROOT, MissingCapability
from migrator.text import shown

_STATUS = Path("/proc/self/status")
_UID_MAP = Path("/proc/self/uid_map")
# Of the namespace that a system starts with (user_namespaces(7)).
_INITIAL = [0, 0, 0xFFFFFFFF]

_PATH_MAX = 4096


class Capability(enum.IntEnum):
    """By number, as in <linux/capability.h>."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    FOWNER = 3
    FSETID = 4
    SYS_ADMIN = 21
    MKNOD = 27
    SETFCAP = 31


TO_READ_ALL = frozenset((Capability.DAC_OVERRIDE, Capability.DAC_READ_SEARCH))
"""Either will do for reading everybody's files."""

TO_BUILD = frozenset(Capability) - {Capability.DAC_READ_SEARCH}
"""For directories of overlay2: everybody's files with all that they have, devices, trusted.*."""

TO_REMOVE = frozenset((Capability.DAC_OVERRIDE, Capability.FOWNER))
"""For removing those; FOWNER where a directory is sticky."""

TO_COMPARE = frozenset((Capability.SYS_ADMIN,))
"""For telling whether they are as they were built, their trusted.* attributes included."""

# In a user namespace they count for what belongs to that, which no file system here does.
_OF_THE_HOST = frozenset((Capability.MKNOD, Capability.SYS_ADMIN))


def effective() -> frozenset[Capability]:
    """Those that this process has, and that count outside of its user namespace.

    All of them where /proc does not tell: then the kernel will.
    """
    try:
        bits = re.search(r"^CapEff:\s*([0-9a-f]+)$", _STATUS.read_text(), re.MULTILINE)
        is_initial = [*map(int, _UID_MAP.read_text().split())] == _INITIAL
    except OSError:
        return frozenset(Capability)
    mask = int(bits[1], 16) if bits else -1
    have = frozenset(each for each in Capability if mask >> each & 1)
    return have if is_initial else have - _OF_THE_HOST


def require(needed: Set[Capability], what: str, subject: Path) -> None:
    """Raise MissingCapability unless this process has all that `what`, done to `subject`, needs."""
    lacking = needed - effective()
    if lacking:
        raise _missing(lacking, what, subject)


def check_readable(trees: Iterable[Path]) -> None:
    """Raise MissingCapability when something in these directories may not be read.

    A process that may read everything looks at nothing.
    """
    if not TO_READ_ALL.isdisjoint(effective()):
        return
    for tree in trees:
        unreadable = _first_unreadable(tree) if os.path.lexists(tree) else None
        if unreadable is not None:
            raise _missing({Capability.DAC_OVERRIDE}, "reading it", Path(unreadable))


def remedy(error: OSError) -> str:
    """What to do when the kernel did not permit something; empty when root has all rights."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ""
    if os.geteuid() != 0:
        return AS_ROOT
    # EACCES is about permissions of files, EPERM may be about anything.
    relevant = {Capability.DAC_OVERRIDE} if error.errno == errno.EACCES else TO_BUILD
    lacking = relevant - effective()
    return _hint(lacking) if lacking else ""


def _first_unreadable(tree: Path) -> str | None:
    waiting = [os.fspath(tree)]
    while waiting:
        directory = waiting.pop()
        if not _may_read(directory, os.R_OK | os.X_OK):
            return directory
        # What went away meanwhile, or is too deep for a path, is its reader's business.
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and not _may_read(entry.path, os.R_OK):
                    return entry.path
    return None


def _may_read(path: str, mode: int) -> bool:
    return len(os.fsencode(path)) >= _PATH_MAX or os.access(path, mode, effective_ids=True)


def _missing(lacking: Set[Capability], what: str, subject: Path) -> MissingCapability:
    names = [f"CAP_{each.name}" for each in sorted(lacking)]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return MissingCapability(
        f"{what} needs {listed}, which this process lacks",
        subject=shown(str(subject)),
        hint=_hint(lacking),
    )


def _hint(lacking: Set[Capability]) -> str:
    if os.geteuid() != 0:
        return AS_ROOT
    options = " ".join(f"--cap-add {each.name}" for each in sorted(lacking))
    return (
        f"root has all capabilities outside of containers; in one: docker run {options}"
        " (without user namespaces: neither rootless nor userns-remap)"
    )
