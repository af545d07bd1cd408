"""What a user can get wrong, or find wrong: a message that names it, an exit code, no traceback."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from legacy_fixtures.build import Container, Store, build, line
from migrator import cli
from migrator.commands import migrate as migration
from tests.command import dump, migrator, snapshot
from tests.scratch import scratch

StoreCopy = Callable[[str], Path]


def refused(run: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    assert run.returncode == code, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    for words in said:
        assert words in run.stderr


@pytest.mark.parametrize("command", ["plan", "migrate", "checksums", "status", "rollback"])
def test_data_root_that_is_none(command: str, tmp_path: Path) -> None:
    refused(migrator(command, "-g", tmp_path / "none"), 1, str(tmp_path / "none"), "not exist")
    refused(migrator(command, "-g", tmp_path), 1, str(tmp_path), "no Docker store")
    (tmp_path / "file").write_text("")
    refused(migrator(command, "-g", tmp_path / "file"), 1, "not a directory")
    (tmp_path / "graph").mkdir()
    refused(migrator(command, "-g", tmp_path), 1, "no storage driver's directory")


def test_wrong_usage() -> None:
    refused(migrator(), 2, "Usage")
    refused(migrator("migrate", "--no-such-option"), 2, "--no-such-option")
    refused(migrator("migrate", "--workers", "0"), 2, "--workers")
    refused(migrator("migrate", "-s", "floppy"), 2, "floppy")
    refused(migrator("migrate", "--storage-opt", "novalue"), 2, "novalue")
    refused(migrator("plan", env={"MIGRATOR_WORKERS": "many"}), 2, "workers")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["plan", "-g", ""], "-g, --graph"),
        (["status", "--graph="], "-g, --graph"),
        (["rollback", "-s", ""], "-s, --storage-driver"),
        (["migrate", "--work-dir", ""], "--work-dir"),
        (["verify", "--report", ""], "--report"),
        (["migrate", "--target-driver", ""], "--target-driver"),
        (["plan", "--storage-opt", ""], "--storage-opt"),
        (["export", "-o", ""], "-o, --output"),
        (["export", "-o", "out", ""], "IMAGE"),
    ],
)
def test_empty_values_are_refused(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The current directory, which an empty path would mean, and that of the environment.
    build(Store(layers=line(1), tags={}), tmp_path / "root")
    monkeypatch.chdir(tmp_path / "root")
    monkeypatch.setenv("MIGRATOR_GRAPH", "" if "-g" in arguments else str(tmp_path / "root"))
    before = snapshot(tmp_path)
    assert cli.run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"migrator: {named} is empty\n")
    assert snapshot(tmp_path) == before


def test_version_and_help_name_every_command() -> None:
    assert migrator("--version").stdout.startswith("migrator ")
    shown = migrator("--help").stdout
    for command in ("plan", "migrate", "checksums", "verify", "rollback", "status"):
        assert command in shown
        assert "MIGRATOR_GRAPH" in migrator(command, "--help").stdout


def test_several_drivers_are_named(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay")
    # Volumes of old hosts lay in vfs/dir, upgraded hosts have overlay2/ too.
    (root / "vfs/dir").mkdir(parents=True)
    (root / "overlay2").mkdir()
    assert migrator("plan", "-g", root, "-q").returncode == 3
    (root / "aufs").mkdir()
    assert migrator("plan", "-g", root, "-q").returncode == 3
    (root / "repositories-aufs").write_text('{"Repositories":{}}')
    refused(migrator("plan", "-g", root), 1, "aufs", "overlay", "-s")
    assert migrator("plan", "-g", root, "-q", "-s", "overlay").returncode == 3


def test_driver_that_cannot_be_read(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay")
    (root / "overlay").rename(root / "zfs")
    (root / "repositories-overlay").rename(root / "repositories-zfs")
    refused(migrator("migrate", "-g", root), 1, "zfs", "overlay")


def as_nobody(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line without root's rights."""
    program = (
        "import difflib, encodings.ascii, os, sys; import migrator.cli, migrator.verification\n"
        "os.setgid(65534); os.setuid(65534); sys.exit(migrator.cli.run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.root
def test_not_root_is_said(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay")
    root.chmod(0o700)
    for command in ("plan", "migrate", "checksums", "verify", "rollback", "status"):
        refused(as_nobody(command, "-g", root), 1, "run it as root, e.g. with sudo")


@pytest.mark.parametrize(
    "closed", ["image", "image/overlay/imagedb/content/sha256", "containers", "overlay"]
)
@pytest.mark.root
def test_verify_says_what_it_may_not_read(closed: str) -> None:
    with scratch() as directory:
        built = build(
            Store(layers=line(1), tags={}, containers=(Container("web"),)), directory / "root"
        )
        migration.migrate(built.root, workers=0)
        for path in (directory, built.root, *built.root.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o555)
        (built.root / closed).chmod(0o700)
        run = as_nobody("verify", "-g", built.root, "--progress", "none")
        refused(run, 1, f"{built.root / closed}", "run it as root, e.g. with sudo")
        assert run.stdout == ""


def test_running_daemon_stops_migrate_only(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay-pulled")
    database = root / "network/files/local-kv.db"
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.open("ab") as held:
        # As the daemon's bolt database is held while it runs.
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(migrator("migrate", "-g", root), 1, "daemon", "local-kv.db")
        assert not (root / ".migrator").exists()
        assert migrator("plan", "-g", root).returncode == 0
        assert migrator("checksums", "-g", root, "-q").returncode == 0
        stopped = migrator("rollback", "-g", root)
        refused(stopped, 1, "daemon", "stop the daemon first")
        assert "checksums" not in stopped.stderr
    assert migrator("migrate", "-g", root, "-q").returncode == 0


def test_report_that_cannot_be_written_is_said_first(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay-pulled")
    before = snapshot(root)
    refused(migrator("migrate", "-g", root, "-q", "--report", "/proc/nothing"), 1, "/proc/nothing")
    assert snapshot(root) == before


def test_bad_metadata_costs_only_what_it_concerns(
    store_copy: StoreCopy, golden: Callable[[str], dict[str, dict[str, str]]]
) -> None:
    root = store_copy("docker-1.9.1-overlay")
    expected = golden("docker-1.9.1-overlay")["id_map"]
    parents = {v1_id: _parent((root / "graph" / v1_id / "json").read_text()) for v1_id in expected}
    leaves = sorted(set(expected) - set(parents.values()))
    broken, no_layer = leaves[0], leaves[1]
    (root / "graph" / broken / "json").write_text("{")
    shutil.rmtree(root / "overlay" / no_layer)
    (root / "graph" / "not-an-id").mkdir()
    (root / "containers" / ("c" * 64)).mkdir()
    (root / "containers" / ("d" * 64)).mkdir()
    (root / "containers" / ("d" * 64) / "config.json").write_text('{"Image": 5}')
    os.mkfifo(root / "graph" / leaves[2] / "checksum")
    before = snapshot(root / "graph")

    run = migrator("migrate", "-g", root, "--progress", "none")

    assert run.returncode == 3
    for name in (broken, no_layer, "not-an-id", "c" * 64, "d" * 64):
        assert name in run.stdout
    migrated = dump(root, "overlay")["id_map"]
    assert migrated == {k: v for k, v in expected.items() if k not in (broken, no_layer)}
    assert snapshot(root / "graph") == before


def _parent(json_text: str) -> str | None:
    import json

    parent: str | None = json.loads(json_text).get("parent")
    return parent


def test_control_characters_never_reach_the_terminal(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay")
    (root / "graph" / "evil\x1b[2Jname").mkdir()
    container = root / "containers" / ("e" * 64)
    container.mkdir()
    (container / "config.json").write_text(
        '{"Image": "' + "f" * 64 + '", "Name": "/\\u001b]0;pwned\\u0007", "Driver": "overlay"}'
    )
    run = migrator("migrate", "-g", root, "--progress", "none", "-v")
    assert "\x1b" not in run.stdout + run.stderr
    assert "pwned" in run.stdout
