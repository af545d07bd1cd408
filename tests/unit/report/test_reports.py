"""JSON documents: one beginning for all, and a report also of a run that failed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legacy_fixtures.build import Built, Store, build, line
from migrator import cli
from migrator.commands import migrate as migration
from migrator.system import disk
from migrator.version import __version__
from tests.command import snapshot
from tests.scratch import scratch

WITH_REPORT = ("plan", "migrate", "checksums", "verify", "export")


@pytest.fixture
def built() -> Iterator[Built]:
    with scratch() as directory:
        yield build(Store(layers=line(2)), directory / "root")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def arguments(command: str, root: Path, report: Path) -> list[str]:
    output = ["-o", str(report.parent / "out")] if command == "export" else []
    return [command, "-g", str(root), "--progress", "none", "--report", str(report), *output]


def read(report: Path, command: str, root: Path, code: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(report.read_text())
    head = [document[name] for name in ("schema", "migrator", "command", "data_root", "exit_code")]
    assert head == [1, __version__, command, str(root), code]
    return document


@pytest.mark.parametrize("command", WITH_REPORT)
def test_a_run_that_fails_leaves_a_report(command: str, tmp_path: Path, report: Path) -> None:
    report.write_text("of an earlier run")
    root = tmp_path / "none"
    assert cli.run(arguments(command, root, report)) == 1
    error = read(report, command, root, 1)["error"]
    assert sorted(error) == ["details", "hint", "message", "subject"]
    assert error["subject"] == str(root)
    assert error["message"]


@pytest.mark.parametrize("command", WITH_REPORT)
def test_a_run_that_ends_well_begins_with_the_same_fields(
    command: str, built: Built, report: Path
) -> None:
    if command == "verify":
        migration.migrate(built.root, workers=0)
    assert cli.run(arguments(command, built.root, report)) == 0
    assert "error" not in read(report, command, built.root, 0)


def test_undo_of_checksums_has_one(built: Built, report: Path) -> None:
    assert cli.run(["checksums", "-g", str(built.root), "-q"]) == 0
    assert cli.run([*arguments("checksums", built.root, report), "--undo"]) == 0
    assert read(report, "checksums", built.root, 0)["layers_undone"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_a_report(
    number: signal.Signals, built: Built, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hook(operation: str, path: Path) -> None:
        if path.is_relative_to(built.root / ".migrator/stage"):
            os.kill(os.getpid(), number)

    monkeypatch.setattr(disk, "hook", hook)
    assert cli.run(arguments("migrate", built.root, report)) == 4
    error = read(report, "migrate", built.root, 4)["error"]
    assert f"`migrator rollback -g {built.root}`" in error["hint"]


@pytest.mark.parametrize(
    ("command", "hint"), [("plan", "nothing was changed"), ("checksums", "checksums -g {} --undo`")]
)
def test_what_is_said_of_an_interruption_fits_the_command(
    command: str, hint: str, built: Built, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("migrator.commands.plan.make_plan", interrupt)
    monkeypatch.setattr("migrator.commands.checksums.make_plan", interrupt)
    assert cli.run(arguments(command, built.root, report)) == 4
    error = read(report, command, built.root, 4)["error"]
    assert error["hint"].endswith(hint.format(built.root))


def test_no_empty_file_is_left_by_a_run_that_is_killed(
    built: Built, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise SystemExit(137)

    monkeypatch.setattr(migration, "migrate", killed)
    with pytest.raises(SystemExit):
        cli.run(arguments("migrate", built.root, report))
    assert not report.exists()


def test_a_report_that_cannot_be_written_is_told_once(
    built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Path("/proc/no/report")
    before = snapshot(built.root)
    assert cli.run(arguments("migrate", built.root, report)) == 1
    assert capsys.readouterr().err.count(str(report)) == 1
    assert snapshot(built.root) == before


def test_json_on_standard_output_has_the_head(
    built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    migration.migrate(built.root, workers=0)
    for command in ("plan", "verify", "status"):
        capsys.readouterr()
        options = [] if command == "status" else ["--progress", "none"]
        assert cli.run([command, "-g", str(built.root), "--json", *options]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["schema"], document["migrator"]) == (1, __version__)
        assert (document["command"], document["data_root"]) == (command, str(built.root))


def test_details_are_a_list_in_json_and_lines_for_people(
    built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    migration.migrate(built.root, workers=0)
    added = [f"image/overlay/imagedb/content/sha256/{number:02}" for number in range(23)]
    for name in added:
        (built.root / name).mkdir()
    assert cli.run(["rollback", "-g", str(built.root)]) == 1
    what, *details, hint = capsys.readouterr().err.splitlines()
    assert what == f"migrator: {built.root}: changed since the migration"
    assert details == [*(f"  {name} was added" for name in added[:20]), "  and 3 more"]
    assert hint.startswith("migrator: `migrator rollback")
