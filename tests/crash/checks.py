"""What must hold of a data root, whatever happened to the command that worked on it."""

from __future__ import annotations

import re
from pathlib import Path

from migrator.commands import checksums as checksumming
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.commands.status import status
from migrator.errors import ExitCode
from migrator.state.directory import Phase, StateDirectory
from tests.command import snapshot
from tests.crash.faults import Ended, Fault, run
from tests.crash.scenarios import Scenario, Tree, copy, dump

_helper_file = re.compile(r"graph/[0-9a-f]{64}/\.migration-[a-z]+(\.new)?")


def try_point(scenario: Scenario, fault: Fault | None, point: int, directory: Path) -> Ended:
    """Let `fault` happen at a point of the command, and check all that must hold after it."""
    root = directory / "root"
    scenario.begin(root)
    ended = run(scenario.arguments(root), workers=scenario.workers, fault=fault, point=point)
    check_ending(scenario, fault, ended)
    check_what_is_left(scenario, root, directory / "copy")
    return ended


def try_unreadable(scenario: Scenario, read: int, directory: Path) -> bool:
    """Let one read of a layer's files fail: that layer is left out, nothing else is lost.

    Returns whether there was such a read.
    """
    root, start = directory / "root", scenario.start
    scenario.begin(root)
    ended = run(scenario.arguments(root), unreadable=read)
    found, reference = dump(root, start.driver), start.reference
    if "Input/output error" not in ended.output:
        assert found == reference, ended
        return False
    assert ended.code == ExitCode.PARTIAL, ended
    for kind in ("images", "layers", "id_map"):
        assert found[kind].items() <= reference[kind].items()
    assert len(found["id_map"]) < len(reference["id_map"])
    state = StateDirectory.named(root, start.state)
    # Where all that was to come could not be read, nothing was published.
    if state is not None and state.phase is not Phase.NONE:
        rollback(root)
    assert snapshot(root) == start.original
    _migrate(scenario, root)
    return True


def check_ending(scenario: Scenario, fault: Fault | None, ended: Ended) -> None:
    """Killed if it was to be; else a message, and the exit code of a failure."""
    assert "Traceback" not in ended.output, ended.output
    if fault is Fault.KILL:
        assert ended.code == -9, ended
    elif fault is None:
        assert ended.code == (0 if scenario.command != "migrate" else scenario.start.exit_code)
    else:
        assert ended.code == ExitCode.FAILED, ended
        reason = "disk is full" if fault is Fault.FULL else "failed (Input/output error)"
        assert re.match(r"migrator: /.*: ", ended.output), ended.output
        assert reason in ended.output, ended.output


def check_what_is_left(scenario: Scenario, root: Path, other: Path) -> None:
    """Check a data root and every way on from it; `other` is room for a copy."""
    start = scenario.start
    left = snapshot(root)
    status(root)
    assert snapshot(root) == left, "status has changed something"
    state = StateDirectory.named(root, start.state)
    assert state is not None
    outside = {path: entry for path, entry in left.items() if path.split("/")[0] != state.path.name}
    helpers = {path for path in outside if _helper_file.fullmatch(path)}
    phase = state.phase
    if phase in (Phase.NONE, Phase.PREPARING):
        assert _without(outside, helpers) == start.original, "changed before it was published"
    elif phase is Phase.PUBLISHED:
        assert dump(root, start.driver) == start.reference
    else:
        _check_order(scenario, root)
    assert not helpers or scenario.command == "checksums"

    copy(root, other)
    if scenario.command == "checksums":
        checksumming.undo(other)
    elif phase is not Phase.NONE:
        rollback(other)
    assert snapshot(other) == start.original, "not what it was"

    _migrate(scenario, root)
    rollback(root)
    expected = outside if phase is Phase.PREPARING else start.original
    assert snapshot(root) == expected, "not what it was, after another migration"


def _check_order(scenario: Scenario, root: Path) -> None:
    """Whatever tells a daemon that something is migrated comes after it, and goes before it."""
    start = scenario.start
    found, reference, before = dump(root, start.driver), start.reference, start.before
    if found["id_map"] == reference["id_map"] != before["id_map"]:
        assert found == reference, "marked as migrated, but it is not complete"
    told = found["repositories"] == reference["repositories"] != before["repositories"]
    if told or found["containers"] != before["containers"]:
        for kind in ("images", "image_metadata", "layers", "mounts", "distribution"):
            assert found[kind] == reference[kind], f"used before it was there: {kind}"
    named = {layer["cache-id"] for layer in found["layers"].values() if "cache-id" in layer}
    for path in reference.get("files", ()):
        if path.partition("/")[0] in named:
            assert path in found["files"], "a layer's files were not there when it was"


def _migrate(scenario: Scenario, root: Path) -> None:
    target = scenario.start.target or None
    summary = migration.migrate(root, target_driver=target, workers=0)
    if summary.nothing_to_do is None:
        assert summary.exit_code == scenario.start.exit_code
    assert dump(root, scenario.start.driver) == scenario.start.reference, "not the reference"


def _without(tree: Tree, paths: set[str]) -> Tree:
    return {path: entry for path, entry in tree.items() if path not in paths}
