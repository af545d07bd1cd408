"""Commands that messages recommend: pasted, they act on the same data root in the same way."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import migrator as package
from legacy_fixtures.build import Built, Store, build, line
from migrator import cli
from migrator.cli.place import Place, Work
from migrator.commands import migrate as migration
from migrator.errors import Problem, Subject
from tests.scratch import scratch

pytestmark = pytest.mark.root

COMMAND = re.compile(r"`migrator ([^`(]+)`")


@pytest.fixture
def built() -> Iterator[Built]:
    with scratch() as directory:
        yield build(Store(layers=line(2)), directory / "it's a root")


def place(**given: object) -> Place:
    usual = {"graph": Path("/var/lib/docker"), "storage_driver": "auto", "storage_opts": ()}
    return Place(**{"command": "plan", "work_dir": None, "quiet": False, **usual, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "`migrator verify` checks it"),
        ({"graph": Path("/mnt/it's")}, "`migrator verify -g '/mnt/it'\"'\"'s'` checks it"),
        ({"graph": Path("here")}, f"-g {shlex.quote(str(Path('here').absolute()))}` checks it"),
        ({"storage_driver": "aufs"}, "`migrator verify -s aufs` checks it"),
        ({"storage_opts": ("a=b", "c=d e")}, "--storage-opt a=b --storage-opt 'c=d e'`"),
        ({"work_dir": Path("/big disk")}, "`migrator verify --work-dir '/big disk'` checks"),
    ],
)
def test_options_that_say_where_are_added(
    given: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIGRATOR_GRAPH", raising=False)
    assert expected in place(**given).completed("`migrator verify` checks it")


def test_options_of_the_command_itself_stay() -> None:
    here = place(graph=Path("/x"), storage_driver="aufs")
    text = "`migrator verify -s overlay2 --quick`, or `migrator rollback --force`; `zfs list`"
    assert here.completed(text) == (
        "`migrator verify -g /x -s overlay2 --quick`,"
        " or `migrator rollback -g /x -s aufs --force`; `zfs list`"
    )


def test_the_default_is_named_where_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIGRATOR_GRAPH", "/elsewhere")
    assert place().completed("`migrator plan`") == "`migrator plan -g /var/lib/docker`"


def test_hints_of_problems_are_completed() -> None:
    problem = Problem(Subject.ROOT, "`migrator plan`", "is odd", "`migrator migrate` first")
    (completed,) = place(graph=Path("/x")).completed_all([problem])
    assert completed.hint == "`migrator migrate -g /x` first"
    assert completed.name == "`migrator plan`"


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def suggested() -> Iterator[str]:
    """Every command that a text in the program recommends; what is filled in is X."""
    for path in sorted(Path(package.__file__).parent.rglob("*.py")):
        if "`migrator" not in (source := path.read_text()):
            continue
        nodes = list(ast.walk(ast.parse(source)))
        docs = {ast.get_docstring(n, clean=False) for n in nodes if isinstance(n, _DOCUMENTED)}
        for node in nodes:
            text = ""
            if isinstance(node, ast.JoinedStr):
                text = "".join(map(constant, node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = "" if node.value in docs else node.value
            yield from COMMAND.findall(re.sub(r"\{\w+\}", "X", text))


def constant(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "X"


def test_every_suggested_command_is_one() -> None:
    found = set(suggested())
    assert {"rollback", "migrate", "verify -s X", "migrate --target-driver X"} <= found
    # How they are put together is no suggestion.
    for text in found - {"XXX"}:
        name, *arguments = text.split()
        command = cli.commands.commands[name]
        with click.Context(command, info_name=name) as context:
            command.parse_args(context, arguments)


def test_what_status_and_rollback_suggest_can_be_pasted(
    built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    migration.migrate(built.root, workers=0)
    migration.migrate(built.root, target_driver="overlay2", workers=0)
    where = ["-g", str(built.root)]
    assert cli.run(["status", *where, "-s", "overlay"]) == 0
    verify, rollback = COMMAND.findall(capsys.readouterr().out)
    assert cli.run([*shlex.split(verify), "--quick"]) == 0
    assert "(overlay2)" in capsys.readouterr().out

    assert cli.run(shlex.split(rollback)) == 0
    (rollback,) = COMMAND.findall(capsys.readouterr().out)
    assert cli.run(shlex.split(rollback)) == 0
    assert not (built.root / "image").exists()

    capsys.readouterr()
    assert cli.run(["status", *where, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    plan, migrate = COMMAND.findall(document["next_step"])
    assert shlex.split(plan) == ["plan", *where]
    assert shlex.split(migrate) == ["migrate", *where]


def test_hints_of_errors_can_be_pasted(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    migration.migrate(built.root, workers=0)
    (built.root / "image/new").touch()
    assert cli.run(["rollback", "-g", str(built.root)]) == 1
    (command,) = COMMAND.findall(capsys.readouterr().err)
    assert shlex.split(command) == ["rollback", "-g", str(built.root), "--force"]
    assert cli.run(shlex.split(command)) == 0


def test_work_has_them_too(tmp_path: Path) -> None:
    work = Work("plan", tmp_path, "auto", (), None, False, 1, "json", None, False)
    assert work.completed("`migrator plan`") == f"`migrator plan -g {tmp_path}`"
