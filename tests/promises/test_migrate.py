"""`migrator migrate` on real stores: what Docker 1.10.3 made of them, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import dump, migrator, snapshot
from tests.stores.real import STORES

StoreCopy = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

ADDED = (".migrator", "image", ".migration-v1-images.json", ".migration-v1-tags")


@pytest.mark.parametrize("name", STORES)
def test_result_is_dockers_and_legacy_part_is_untouched(
    name: str, store_copy: StoreCopy, golden: Golden
) -> None:
    driver, exit_code = STORES[name]
    root = store_copy(name)
    before = snapshot(root)

    run = migrator("migrate", "--graph", root, "--progress", "none")

    assert run.returncode == exit_code, run.stderr
    assert run.stderr == ""
    assert dump(root, driver) == golden(name)
    after = snapshot(root, without=ADDED)
    changed = {path for path in after if after[path] != before.get(path)}
    assert all(path.endswith(("/hostconfig.json", "/config.v2.json")) for path in changed)
    assert before.keys() <= after.keys()


def test_second_run_finds_nothing_to_do(store_copy: StoreCopy, golden: Golden) -> None:
    root = store_copy("docker-1.9.1-overlay")
    assert migrator("migrate", "-g", root, "-q").returncode == 3
    before = snapshot(root)

    run = migrator("migrate", "-g", root, "--progress", "none")

    assert run.returncode == 3
    assert "nothing new to migrate; this was left out before" in run.stdout
    assert snapshot(root) == before


def test_root_migrated_by_docker_is_left_alone(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay")
    assert migrator("migrate", "-g", root, "-q").returncode == 3
    migrated = snapshot(root, without=(".migrator",))
    # Docker leaves no such directory.
    shutil.rmtree(root / ".migrator")
    run = migrator("migrate", "-g", root, "--progress", "none")
    assert run.returncode == 3
    assert "nothing new to migrate" in run.stdout
    assert snapshot(root) == migrated


@pytest.mark.parametrize("command", ["plan", "migrate", "checksums"])
def test_root_of_a_newer_docker_has_nothing_to_migrate(command: str, tmp_path: Path) -> None:
    (tmp_path / "image/overlay2").mkdir(parents=True)
    (tmp_path / "overlay2").mkdir()
    run = migrator(command, "-g", tmp_path)
    assert run.returncode == 0
    assert "nothing to do" in run.stdout
    assert not (tmp_path / ".migrator").exists()


def test_report_has_a_record_a_layer(store_copy: StoreCopy, golden: Golden, tmp_path: Path) -> None:
    root = store_copy("docker-1.9.1-overlay")
    report = tmp_path / "report.json"

    run = migrator("migrate", "-g", root, "--report", report, "--workers", "2", "-q")

    document = json.loads(report.read_text())
    expected = golden("docker-1.9.1-overlay")
    assert document["exit_code"] == run.returncode == 3
    assert len(document["layers"]) == len(expected["id_map"])
    for layer in document["layers"]:
        chain = expected["layers"][layer["chain_id"].removeprefix("sha256:")]
        assert (layer["diff_id"], str(layer["size"])) == (chain["diff"], chain["size"])
        assert layer["method"] == "tar-split record"
        assert layer["worker"] in (0, 1)
    assert document["bytes"] == sum(layer["tar_bytes"] for layer in document["layers"])
    assert document["layers_new"] + document["layers_duplicate"] == len(document["layers"])
    assert [p["name"].split()[0][:12] for p in document["problems"]] == ["712022db94b3"]


def test_progress_as_json_lines(store_copy: StoreCopy) -> None:
    run = migrator("migrate", "-g", store_copy("docker-1.9.1-aufs"), "--progress", "json")
    events = [json.loads(line) for line in run.stderr.splitlines()]
    assert [e["phase"] for e in events if e["event"] == "phase"] == [
        "reading",
        "planning",
        "rewriting",
        "publishing",
    ]
    assert sum(e["event"] == "layer_done" for e in events) == 33
    assert run.stdout == ""
    last = events[-1]
    assert (last["event"], last["images"], last["exit_code"]) == ("summary", 33, 3)


def test_failure_as_a_json_line(tmp_path: Path) -> None:
    run = migrator("migrate", "-g", tmp_path, "--progress", "json")
    event = json.loads(run.stderr.splitlines()[-1])
    assert (event["event"], event["exit_code"]) == ("error", run.returncode) == ("error", 1)
    assert "no Docker store" in event["message"]
    assert "-g" in event["hint"]


def test_options_from_the_environment(store_copy: StoreCopy, tmp_path: Path) -> None:
    root = store_copy("docker-1.9.1-overlay-pulled")
    report = tmp_path / "r.json"
    environment = {
        "MIGRATOR_GRAPH": str(root),
        "MIGRATOR_STORAGE_DRIVER": "overlay",
        "MIGRATOR_WORKERS": "3",
        "MIGRATOR_PROGRESS": "none",
        "MIGRATOR_REPORT": str(report),
    }
    run = migrator("migrate", env=environment)
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(report.read_text())["workers"] == 3


def test_plan_counts_and_changes_nothing(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay-odd")
    before = snapshot(root)
    run = migrator("plan", "-g", root, "--json")
    document = json.loads(run.stdout)
    assert run.returncode == 3
    assert (document["driver"], document["images"]) == ("overlay", 33)
    assert (document["layers_with_record"], document["layers_without_record"]) == (33, 0)
    assert any(problem["name"] == "a..b:1" for problem in document["problems"])
    assert snapshot(root) == before
