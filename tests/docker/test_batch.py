"""migrator in a container as a batch job: settings, limits, exit codes, interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import dump
from tests.docker.conftest import IMAGE
from tests.docker.daemon import Daemon, poll

pytestmark = pytest.mark.xdist_group("container image")

StoreCopy = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

_NAME = "docker-1.9.1-overlay"
_LARGE = "f" * 64
_LARGE_SIZE = 1 << 30


def test_everything_is_set_by_environment_and_little_is_allowed(
    engine: Daemon, store_copy: StoreCopy, golden: Golden, tmp_path: Path
) -> None:
    """A read-only root file system, and of root's privileges one: to read whoever's files."""
    root = store_copy(_NAME)
    reports = tmp_path / "reports"
    reports.mkdir()
    settings = {
        "GRAPH": "/data",
        "STORAGE_DRIVER": "overlay",
        "WORKERS": "1",
        "PROGRESS": "json",
        "REPORT": "/reports/report.json",
        "VERBOSE": "1",
    }

    run = engine.run(
        *("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp"),
        *("--cap-drop", "ALL", "--cap-add", "DAC_OVERRIDE"),
        *("--security-opt", "no-new-privileges"),
        *("--volume", f"{root}:/data", "--volume", f"{reports}:/reports"),
        *(f"--env=MIGRATOR_{name}={value}" for name, value in settings.items()),
        *(IMAGE, "migrate"),
        check=False,
    )

    assert run.returncode == 3, run.stderr
    assert dump(root, "overlay") == golden(_NAME)
    report = json.loads((reports / "report.json").read_text())
    assert (report["workers"], report["data_root"]) == (1, "/data")
    events = [json.loads(line) for line in (run.stdout + run.stderr).splitlines()]
    assert all(event["time"] > 0 for event in events)
    assert (events[-1]["event"], events[-1]["exit_code"]) == ("summary", 3)


def test_limits_of_its_cgroup_are_kept(
    engine: Daemon, store_copy: StoreCopy, tmp_path: Path
) -> None:
    root = store_copy(_NAME)
    _add_large_image(root)

    run = engine.run(
        *("run", "--name", "limited", "--network", "none", "--cpus", "1"),
        *("--memory", "64m", "--memory-swap", "64m"),
        *("--volume", f"{root}:/var/lib/docker"),
        *(IMAGE, "migrate", "--report", "/var/lib/docker/report.json"),
        check=False,
    )

    assert run.returncode == 3, run.stderr
    (container,) = engine.inspect("container", "limited")
    assert not container["State"]["OOMKilled"]
    report = json.loads((root / "report.json").read_text())
    assert report["workers"] == report["host"]["cpus"] == 1
    assert report["host"]["memory"] == 64 << 20


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["migrate", "--graph", "/nowhere"], 1), (["migrate", "--workers", "none"], 2)],
)
def test_failures_have_their_exit_codes(
    arguments: list[str], exit_code: int, engine: Daemon
) -> None:
    run = engine.run("run", "--rm", "--network", "none", IMAGE, *arguments, check=False)

    assert run.returncode == exit_code
    assert run.stderr


def test_docker_stop_interrupts_and_the_same_command_goes_on(
    engine: Daemon, store_copy: StoreCopy, golden: Golden
) -> None:
    root = store_copy(_NAME)
    _add_large_image(root)
    options = ["--network", "none", "--volume", f"{root}:/var/lib/docker"]
    command = [IMAGE, "migrate", "--progress", "json", "--report", "/var/lib/docker/report.json"]

    # So slow that the large layer takes long enough.
    slow = engine.docker("run", "--detach", "--cpus", "0.25", *options, *command)
    poll(lambda: _started(engine, slow, _LARGE), "the large layer's turn")
    poll(lambda: _finished(engine, slow) > 0, "a layer's end")
    engine.docker("stop", "--time", "60", slow)
    (stopped,) = engine.inspect("container", slow)
    assert stopped["State"]["ExitCode"] == 4
    assert not (root / "image").exists()
    status = engine.docker("run", "--rm", *options, IMAGE, "status")
    assert "interrupted" in status

    again = engine.run("run", "--rm", *options, *command, check=False)

    assert again.returncode == 3, again.stderr
    assert json.loads((root / "report.json").read_text())["layers_kept"] > 0
    result, expected = dump(root, "overlay"), golden(_NAME)
    assert set(result["id_map"]) - set(expected["id_map"]) == {_LARGE}
    for part in ("images", "layers", "mounts", "containers", "links", "id_map"):
        assert result[part].items() >= expected[part].items(), part
    assert result["repositories"] == expected["repositories"]


def _add_large_image(root: Path) -> None:
    """An image of one layer with one large file, which takes seconds to hash."""
    graph = root / "graph" / _LARGE
    graph.mkdir()
    (graph / "json").write_text(json.dumps({"id": _LARGE, "created": "2015-10-16T00:00:00Z"}))
    (graph / "layersize").write_text(str(_LARGE_SIZE))
    tree = root / "overlay" / _LARGE / "root"
    tree.mkdir(parents=True)
    with (tree / "large").open("wb") as file:
        file.truncate(_LARGE_SIZE)


def _events(engine: Daemon, container: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in engine.run("logs", container).stderr.splitlines()]


def _started(engine: Daemon, container: str, layer: str) -> bool:
    return any(
        event["event"] == "layer_started" and event["layer"] == layer
        for event in _events(engine, container)
    )


def _finished(engine: Daemon, container: str) -> int:
    return sum(event["event"] == "layer_done" for event in _events(engine, container))
