"""The container image: small, harmless by default, and as good as migrator itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import dump, migrator, snapshot
from tests.docker.conftest import BASE, IMAGE
from tests.docker.daemon import Daemon

pytestmark = pytest.mark.xdist_group("container image")

StoreCopy = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]


def test_it_is_small_and_says_what_it_is(engine: Daemon) -> None:
    base, image = engine.inspect("image", BASE, IMAGE)

    assert image["Size"] - base["Size"] < 120e6
    assert image["Config"]["Entrypoint"] == ["migrator"]
    assert image["Config"]["Cmd"] == ["--help"]
    assert image["Config"]["Labels"]["org.opencontainers.image.title"] == "docker-store-migrator"


def test_without_a_command_it_says_what_there_is_and_writes_nothing(
    engine: Daemon, store: StoreCopy
) -> None:
    root = store("docker-1.9.1-overlay")
    before = snapshot(root)

    said = engine.docker("run", "--rm", "--volume", f"{root}:/var/lib/docker", IMAGE)

    assert "checksums" in said
    assert snapshot(root) == before


def test_hashing_under_a_running_daemon(
    engine: Daemon, store_copy: StoreCopy, golden: Golden, tmp_path: Path
) -> None:
    """It hashes what the daemon stands on; a migration is refused until the daemon is down."""
    name = "docker-1.9.1-overlay"
    root = store_copy(name)
    archive = tmp_path / "image.tar"
    engine.docker("save", "--output", archive, IMAGE)
    expected = golden(name)

    old = Daemon(root, "overlay")
    line = ["run", "--rm", "-v", f"{root}:/var/lib/docker", IMAGE]
    with old:
        old.docker("load", "--input", archive)
        old.docker(*line, "checksums")
        refused = old.run(*line, "migrate", check=False)
    old.remove()

    for v1_id, image_id in expected["id_map"].items():
        config = json.loads(expected["images"][image_id.removeprefix("sha256:")])
        helper = root / "graph" / v1_id / ".migration-diffid"
        assert helper.read_text() == config["rootfs"]["diff_ids"][-1]
    assert refused.returncode == 1
    assert "a Docker daemon uses it" in refused.stderr

    # The hashing need not be done again once the daemon is down.
    run = migrator("migrate", "--graph", root, "--report", tmp_path / "report.json")
    assert run.returncode == 3, run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["layers_kept"] == len(report["layers"]) == len(expected["id_map"])
    assert dump(root, "overlay")["id_map"] == expected["id_map"]


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [("docker-1.9.1-overlay", 3), ("docker-1.9.1-overlay-pulled", 0), ("docker-1.7.1-aufs", 3)],
)
def test_migrates_a_mounted_root(
    name: str, exit_code: int, engine: Daemon, store_copy: StoreCopy, golden: Golden
) -> None:
    root = store_copy(name)
    options = ["--rm", "--network", "none", "--volume", f"{root}:/var/lib/docker"]

    run = engine.run("run", *options, IMAGE, "migrate", "--progress", "json", check=False)

    assert run.returncode == exit_code, run.stderr
    assert dump(root, golden(name)["driver"]) == golden(name)
    events = [json.loads(line) for line in run.stderr.splitlines()]
    phases = [event["phase"] for event in events if event["event"] == "phase"]
    assert phases == ["reading", "planning", "rewriting", "publishing"]
    assert (events[-1]["event"], events[-1]["data_root"]) == ("summary", "/var/lib/docker")
    assert run.stdout == ""
