"""Running the command line as a user does, and looking at what it left."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

DUMP = Path(__file__).parent.parent / "legacy_fixtures" / "dump_store.py"


def migrator(
    *arguments: str | Path, env: dict[str, str] | None = None, wrapper: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run `migrator ARGUMENTS`; `wrapper` is a command to run it under."""
    return subprocess.run(
        [*wrapper, sys.executable, "-m", "migrator", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=False,
        timeout=300,
    )


def dump(root: Path, driver: str) -> dict[str, Any]:
    """The new store below `root`, as the golden files show it."""
    run = subprocess.run(
        [sys.executable, DUMP, root, driver], capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def snapshot(root: Path, *, without: tuple[str, ...] = ()) -> dict[str, tuple[object, ...]]:
    """Everything below `root` by relative path: mode, owner, mtime of files, content.

    Directories' mtimes are not in it: adding a file beside others changes them.
    `without` names top-level entries to leave out.
    """
    found: dict[str, tuple[object, ...]] = {}
    for directory, subdirectories, files in os.walk(os.fsencode(root)):
        for name in subdirectories + files:
            path = os.path.join(directory, name)
            relative = os.fsdecode(os.path.relpath(path, os.fsencode(root)))
            if relative.split("/")[0] in without:
                continue
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            mtime = None if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
            found[relative] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_rdev,
                mtime,
                content,
            )
    return found
