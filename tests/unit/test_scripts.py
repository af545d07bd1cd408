"""The scripts of the clone, and what a clone takes for its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.root
def test_migrate_says_where_its_store_is_and_what_comes_next(tmp_path: Path) -> None:
    """The commands work as they are printed."""
    place = tmp_path / "a place"
    place.mkdir()
    environment = {**os.environ, "TMPDIR": str(place)}

    run = subprocess.run(
        ["scripts/migrate"], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )

    assert run.returncode == 0, run.stderr
    (left,) = place.iterdir()
    assert str(left / "docker") in run.stdout
    commands = re.findall(r"^  (\.venv/bin/migrator .*)$", run.stdout, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["status", "verify", "rollback"]
    for command in commands:
        subprocess.run(command, shell=True, cwd=REPOSITORY, check=True, capture_output=True)
    (removal,) = re.findall(r"rm -r .*$", run.stdout, re.MULTILINE)
    subprocess.run(removal, shell=True, check=True)
    assert not list(place.iterdir())


@pytest.mark.parametrize(
    "path", ["wheelhouse/x.whl", "docker-store-migrator.tar.gz", "docker-store-migrator.tar"]
)
def test_what_building_an_image_leaves_is_ignored(path: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_bytes((REPOSITORY / ".gitignore").read_bytes())
    run = subprocess.run(["git", "check-ignore", "-q", path], cwd=tmp_path, check=False)
    assert run.returncode == 0
