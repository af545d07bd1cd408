"""What a power failure could undo: nothing is relied on before it is on the disk.

A killed process leaves behind all it has written; a machine that stops does
not. Seen from the trace of a run's operations: what is renamed into the data
root was flushed before, and the phase changes when all that came before it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from migrator.system import disk
from tests.crash.faults import run
from tests.crash.scenarios import STORES_BUILT, prepare
from tests.scratch import scratch

WRITES = ("write", "link", "mkdir", "end record")


@pytest.fixture(params=STORES_BUILT)
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    with scratch() as directory:
        prepare(request.param, directory / "start")
        (directory / "start/legacy").rename(directory / "root")
        yield directory / "root"


class Replay:
    """Replays a trace: which files' content and directories' entries are not flushed yet."""

    def __init__(self, root: Path, *, syncfs_counts: bool = False) -> None:
        self.root = root
        self.syncfs_counts = syncfs_counts
        self.state = root / ".migrator"
        self.dirty: set[Path] = set()
        self.phases = 0

    def run(self, points: list[str]) -> None:
        for point in points:
            operation, _, name = point.rpartition(" ")
            path = Path(name)
            if operation == "rename":
                self.check(path)
            if not operation.endswith(" done"):
                continue
            operation = operation.removesuffix(" done")
            if operation == "fsync":
                self.dirty.discard(path)
            elif operation == "syncfs" and self.syncfs_counts:
                self.dirty.clear()
            elif operation in WRITES:
                self.dirty |= {path, path.parent}
            elif operation in ("rename", "unlink"):
                self.dirty.add(path.parent)
            elif operation == "rmdir":
                self.dirty.discard(path)
                self.dirty.add(path.parent)
        assert not self.pending(self.root), "still to be flushed at the end"

    def check(self, target: Path) -> None:
        """A rename to `target` is next: from the stage, from what is saved, or from beside it."""
        if not target.is_relative_to(self.state):
            relative = target.relative_to(self.root)
            for source in (self.state / "stage" / relative, self.state / "saved" / relative):
                assert not self.pending(source), f"{target} before it is on the disk"
            assert self.root not in self.dirty, f"{target} before the rename before it"
            return
        assert target.with_name(target.name + ".new") not in self.dirty
        if target.name == "phase":
            self.phases += 1
            left = self.pending(self.root) - {self.state}
            assert not left, f"the phase changes before {left} are on the disk"

    def pending(self, top: Path) -> set[Path]:
        """What is not flushed, in the data root, or below a place in the state directory."""
        inside = {path for path in self.dirty if path.is_relative_to(top)}
        if top != self.root:
            return inside
        kept = {self.state / "saved", self.state / "stage"}
        return {
            path
            for path in inside
            if not path.is_relative_to(self.state)
            or any(path.is_relative_to(place) for place in kept)
        }


@pytest.mark.parametrize("told", [True, False])
def test_a_migration_and_its_undoing(
    told: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "syncfs_tells_errors", lambda path: told)
    replay = Replay(root, syncfs_counts=told)
    points = run(["migrate", "-g", root, "-q"]).points
    replay.run(points)
    assert replay.phases == 3
    # One by one the staged files are flushed only where syncfs hides what went wrong.
    assert any(point.startswith(f"fsync {root}/.migrator/stage/") for point in points) is not told
    replay.dirty.clear()
    replay.run(run(["rollback", "-g", root, "-q"]).points)
    assert replay.phases == 5


@pytest.mark.parametrize(
    ("release", "file_system", "tells"),
    [
        ("5.8.0-rc1", "ext4", True),
        ("10.0", "btrfs", True),
        ("6.1.0-13-amd64", "fuse.sshfs", False),
        ("5.7.19", "ext4", False),
        ("4.19.0", "xfs", False),
    ],
)
def test_where_syncfs_tells_errors(
    release: str, file_system: str, tells: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    monkeypatch.setattr(disk, "file_system_type", lambda path: file_system)
    assert disk.syncfs_tells_errors(tmp_path) is tells


def test_markers_are_gone_before_what_they_vouch_for(root: Path) -> None:
    run(["migrate", "-g", root, "-q"])
    points = run(["rollback", "-g", root, "-q"]).points
    marker = points.index(f"unlink {root}/.migration-v1-tags")
    flushed = points.index(f"fsync done {root}", marker)
    first = next(n for n, p in enumerate(points) if p.startswith(f"unlink {root}/image"))
    assert marker < flushed < first
