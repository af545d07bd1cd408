"""Names that a migration left out although their images came over: other images had them.

Nothing in the new store tells of them, so that they are written down for the
next run, in `left_out.json`. A damaged file costs no more than that.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from migrator.errors import FormatError, Problem, Subject
from migrator.state.soundness import MAX_LINES
from migrator.system import disk
from migrator.system.files import read_file


def write(path: Path, problems: Iterable[Problem]) -> None:
    """Write down those of the problems that a later run could not find by itself."""
    kept = [problem for problem in problems if problem.fatal and problem.about is Subject.TAG]
    disk.write_atomically(path, msgspec.json.encode(kept))


def read(path: Path) -> list[Problem]:
    """What was written down; nothing if the file is missing or damaged."""
    try:
        return msgspec.json.decode(read_file(path, MAX_LINES) or b"[]", type=list[Problem])
    except (FormatError, msgspec.DecodeError, ValueError, RecursionError):
        return []
