"""The examples in `deploy/`: valid by the field's own tools, and good for a real migration."""

from __future__ import annotations

import configparser
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrator.system.capabilities import TO_BUILD
from tests.command import dump, snapshot
from tests.docker.conftest import IMAGE, REPOSITORY
from tests.docker.daemon import ENVIRONMENT, Daemon

pytestmark = pytest.mark.xdist_group("container image")

StoreCopy = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

_DEPLOY = REPOSITORY / "deploy"
_INSTALLED = "/opt/migrator/bin/migrator"
# A small one, all of which can be migrated.
_NAME = "docker-1.9.1-overlay-pulled"


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


def test_systemd_unit_migrates_before_docker(unit: Path) -> None:
    parsed = _parsed(unit)

    assert parsed["Unit"]["Before"] == parsed["Install"]["RequiredBy"] == "docker.service"
    assert parsed["Service"]["ExecStart"].split()[1:] == ["migrate"]
    assert parsed["Service"]["SuccessExitStatus"] == "3"


def _parsed(unit: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.read(unit)
    return parsed


Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where commands are run: on a store, with a directory for what is exported."""

    engine: Daemon
    unit: Path
    root: Path
    output: Path

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command with what the examples take from the environment."""
        given = {
            "DOCKER_HOST": self.engine.host,
            "MIGRATOR_IMAGE": IMAGE,
            "DATA_ROOT": str(self.root),
            "OUTPUT": str(self.output),
        }
        return subprocess.run(
            list(map(str, command)),
            cwd=_DEPLOY,
            env={**ENVIRONMENT, **given, **environment},
            capture_output=True,
            text=True,
            check=False,
        )


def _by_docker_run(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    # What it does of itself.
    arguments = () if arguments == ("migrate",) else arguments
    return place.run("./docker-run.sh", place.root, *arguments)


def _by_compose(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    compose = ("docker-compose", "--file", "compose.yaml")
    if arguments == ("migrate",):
        return place.run(*compose, "up", "--exit-code-from", "migrate")
    volume = ("--volume", f"{place.output}:/output")
    return place.run(*compose, "run", "--rm", "-T", *volume, "migrate", *arguments)


def _by_job(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As the Job's only container, in terms of `docker run`."""
    pod = _job()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security, limits = container["securityContext"], container["resources"]["limits"]
    assert security.pop("runAsUser") == 0
    assert security.pop("readOnlyRootFilesystem")
    options = ["--read-only", "--cpus", limits["cpu"], "--memory", limits["memory"].rstrip("i")]
    for name, option in (("drop", "--cap-drop"), ("add", "--cap-add")):
        options += [f"{option}={each}" for each in security["capabilities"].pop(name)]
    # Nothing else is to be translated.
    assert security == {"capabilities": {}}
    options += [f"--env={each['name']}={each['value']}" for each in container["env"]]
    volumes = {each["name"]: each for each in pod["volumes"]}
    for mount in container["volumeMounts"]:
        if "hostPath" in volumes[mount["name"]]:
            options.append(f"--volume={place.root}:{mount['mountPath']}")
        else:
            options.append(f"--tmpfs={mount['mountPath']}")
    options.append(f"--volume={place.output}:/output")
    command = arguments or container["args"]
    return place.run("docker", "run", "--rm", "--network=none", *options, IMAGE, *command)


def _by_unit(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    service = _parsed(place.unit)["Service"]
    environment = dict(text.split("=", 1) for text in shlex.split(service["Environment"]))
    environment["MIGRATOR_GRAPH"] = str(place.root)
    if "--target-driver" in arguments:
        # As its comment says.
        added = re.findall("^#   Environment=(.*)=(.*)$", place.unit.read_text(), re.MULTILINE)
        environment, arguments = environment | dict(added), arguments[:1]
    command = shlex.split(service["ExecStart"])[0]
    arguments = tuple(each.replace("/output", str(place.output)) for each in arguments)
    return place.run(command, *arguments, **environment)


def _job() -> Any:
    return yaml.safe_load((_DEPLOY / "kubernetes-job.yaml").read_text())


@pytest.mark.parametrize("by", [_by_docker_run, _by_compose, _by_job, _by_unit])
def test_every_command_works_by_every_example(
    by: Run, engine: Daemon, unit: Path, store_copy: StoreCopy, golden: Golden, tmp_path: Path
) -> None:
    root = store_copy(_NAME)
    place = Place(engine, unit, root, tmp_path / "output")
    place.output.mkdir()
    before = snapshot(root)

    def run(*arguments: str) -> None:
        done = by(place, *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)

    run("status")
    run("plan")
    run("checksums")
    run("checksums", "--undo")
    assert (snapshot(root) == before) is True
    run("migrate")
    assert dump(root, "overlay") == golden(_NAME)
    run("migrate", "--target-driver", "overlay2")
    run("verify")
    run("export", "--output", "/output/images")
    assert (place.output / "images" / "index.json").exists()
    run("rollback")
    assert dump(root, "overlay") == golden(_NAME)
    assert not (root / "overlay2").exists()


def test_containers_have_the_capabilities_that_a_migration_takes_and_no_more() -> None:
    needed = {each.name for each in TO_BUILD}
    script = (_DEPLOY / "docker-run.sh").read_text()
    service = yaml.safe_load((_DEPLOY / "compose.yaml").read_text())["services"]["migrate"]
    (container,) = _job()["spec"]["template"]["spec"]["containers"]

    assert set(re.findall(r"--cap-add (\w+)", script)) == needed
    assert set(service["cap_add"]) == needed
    assert set(container["securityContext"]["capabilities"]["add"]) == needed


@pytest.fixture
def path_with_docker(tmp_path: Path) -> str:
    """A PATH on which `docker` only says how it was called."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\necho docker $*\n")
    docker.chmod(0o755)
    return f"{docker.parent}:{ENVIRONMENT['PATH']}"


@pytest.mark.parametrize("arguments", [["none"], ["plan"], ["--verbose"], ["file"]])
def test_docker_run_makes_no_directory(
    arguments: list[str], path_with_docker: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    run = _docker_run(arguments, path_with_docker, tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert f"{arguments[0]}: no such directory" in run.stderr

    run = _docker_run(["."], path_with_docker, tmp_path, OUTPUT=arguments[0])
    assert (run.returncode, run.stdout) == (2, "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_docker_run_explains_itself(option: str, path_with_docker: str, tmp_path: Path) -> None:
    run = _docker_run([option], path_with_docker, tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("usage: ")


def test_docker_run_shows_progress_for_people_on_a_terminal(
    path_with_docker: str, tmp_path: Path
) -> None:
    piped = _docker_run(["."], path_with_docker, tmp_path).stdout
    assert "MIGRATOR_PROGRESS=json" in piped
    assert "--tty" not in piped

    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal, open(theirs, "wb", buffering=0) as end:
        subprocess.run(
            [_DEPLOY / "docker-run.sh", "."],
            cwd=tmp_path,
            env={**ENVIRONMENT, "PATH": path_with_docker},
            **dict.fromkeys(("stdin", "stdout", "stderr"), end),
            check=True,
        )
        shown = terminal.read(4096).decode()
    assert "--interactive --tty --env MIGRATOR_PROGRESS=auto" in shown


def _docker_run(
    arguments: list[str], path: str, directory: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_DEPLOY / "docker-run.sh", *arguments],
        cwd=directory,
        env={**ENVIRONMENT, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
