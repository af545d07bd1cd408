"""The examples in `deploy/`: valid by the field's own tools, and good for a real migration."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import dump
from tests.docker.conftest import IMAGE, REPOSITORY
from tests.docker.daemon import ENVIRONMENT, Daemon

pytestmark = pytest.mark.xdist_group("container image")

StoreCopy = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

_DEPLOY = REPOSITORY / "deploy"
_INSTALLED = "/opt/migrator/bin/migrator"
_NAME = "docker-1.9.1-overlay"


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@pytest.mark.parametrize(
    "command",
    [
        [_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
        ["docker-compose", "--file", "compose.yaml", "config", "--quiet"],
        [_tool("kubernetes-validate"), "--strict", "kubernetes-job.yaml"],
        ["sh", "-n", "docker-run.sh"],
    ],
    ids=lambda command: Path(command[0]).name,
)
def test_examples_are_valid(command: list[str]) -> None:
    run = subprocess.run(
        command, cwd=_DEPLOY, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The systemd unit, as if migrator were installed where it says."""
    command = tmp_path / "migrator"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m migrator "$@"\n')
    command.chmod(0o755)
    unit = tmp_path / "docker-store-migrator.service"
    text = (_DEPLOY / unit.name).read_text()
    assert _INSTALLED in text
    unit.write_text(text.replace(_INSTALLED, str(command)))
    return unit


def test_systemd_unit_is_valid(unit: Path) -> None:

    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )

    # What it does not know it only warns of.
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_systemd_unit_migrates_before_docker(
    unit: Path, store_copy: StoreCopy, golden: Golden
) -> None:
    root = store_copy(_NAME)
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.read(unit)
    service = parsed["Service"]
    environment = dict(text.split("=", 1) for text in shlex.split(service["Environment"]))
    assert parsed["Unit"]["Before"] == parsed["Install"]["RequiredBy"] == "docker.service"

    run = subprocess.run(
        shlex.split(service["ExecStart"]),
        env={**os.environ, **environment, "MIGRATOR_GRAPH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == int(service["SuccessExitStatus"]), run.stderr
    assert dump(root, "overlay") == golden(_NAME)


@pytest.mark.parametrize(
    "command",
    [
        ["./docker-run.sh", "{root}"],
        ["docker-compose", "--file", "compose.yaml", "up", "--exit-code-from", "migrate"],
    ],
    ids=["docker run", "compose"],
)
def test_examples_migrate(
    command: list[str], engine: Daemon, store_copy: StoreCopy, golden: Golden
) -> None:
    root = store_copy(_NAME)

    run = subprocess.run(
        [part.format(root=root) for part in command],
        cwd=_DEPLOY,
        env={
            **ENVIRONMENT,
            "DOCKER_HOST": engine.host,
            "MIGRATOR_IMAGE": IMAGE,
            "DATA_ROOT": str(root),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 3, run.stdout + run.stderr
    assert dump(root, "overlay") == golden(_NAME)
