"""Things in a store that somebody replaced to do harm, and the commands that meet them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from tests.command import snapshot
from tests.stores.hostile import build, run

STATE = ".migrator"

# All that there is, the ones that change least first.
COMMANDS: dict[str, tuple[str, ...]] = {
    "plan": ("plan",),
    "plan-overlay2": ("plan", "--target-driver", "overlay2"),
    "status": ("status",),
    "verify": ("verify", "--quick"),
    "export": ("export", "-o", "-", "--format", "docker-archive"),
    "checksums": ("checksums",),
    "migrate": ("migrate",),
    "migrate-overlay2": ("migrate", "--target-driver", "overlay2"),
    "rollback": ("rollback",),
    "rollback-force": ("rollback", "--force"),
    "undo": ("checksums", "--undo"),
}

DIRECTORIES = ("stage", "saved", "records", "trees")


def outside_of(directory: Path) -> Path:
    """What no run may touch."""
    tree = directory / "outside"
    (tree / "directory" / "overlay2" / "below").mkdir(parents=True)
    (tree / "directory" / "file").write_bytes(b"precious")
    (tree / "file").write_bytes(b"precious")
    return tree


def begun_in(directory: Path) -> Path:
    """A small store whose migration has hashed a layer and then ended."""
    return with_state(build(directory / "root", 2), STATE)


def with_state(root: Path, name: str, phase: str = "preparing") -> Path:
    state = root / name
    state.mkdir(mode=0o700)
    (state / "phase").write_text(phase)
    for directory in DIRECTORIES:
        (state / directory).mkdir()
    return root


def to_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "file")


def to_directory_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "directory")


def to_lost_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "new")


def to_endless(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")


def to_fifo(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def to_device(path: Path, outside: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


def to_directory(path: Path, outside: Path) -> None:
    path.mkdir()


def to_huge(path: Path, outside: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def to_file(path: Path, outside: Path) -> None:
    path.write_bytes(b"x")


def to_foreign(path: Path, outside: Path) -> None:
    path.mkdir() if path.name in DIRECTORIES else path.write_bytes(b"preparing")
    os.chown(path, 4711, 4711)


Kind = Callable[[Path, Path], None]


def spoil(path: Path, kind: Kind, outside: Path) -> None:
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    kind(path, outside)


def run_all(root: Path, outside: Path, *names: str) -> dict[str, str]:
    """Run commands, and hold what lies outside against what it was."""
    before = snapshot(outside)
    said = {}
    for name in names or COMMANDS:
        command, *more = COMMANDS[name]
        done = run(command, "-g", root, *more)
        assert snapshot(outside) == before, (name, done)
        said[name] = f"{done.returncode} {done.stderr}{done.stdout}"
    return said


def codes(command: str) -> str:
    """What a command may end with: the container has no files that could be carried over."""
    return "3" if command == "migrate-overlay2" else "0"
