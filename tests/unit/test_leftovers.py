"""What a test leaves behind fails the run that it belongs to, and is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

CONFTEST = """
from tests.leftovers import Leftovers

def pytest_configure(config):
    config.pluginmanager.register(Leftovers())
"""

FILE = "tempfile.mkstemp(prefix='lost-')"
PROCESS = "print('sleeps', subprocess.Popen(['sleep', '99'], stdout=null, stderr=null).pid)"


@pytest.mark.parametrize(
    ("action", "said"),
    [("pass", ""), (FILE, "/lost-"), (PROCESS, "process: sleep 99")],
    ids=["nothing", "file", "process"],
)
def test_a_run_that_leaves_something_fails(action: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_it.py").write_text(
        f"""import subprocess, tempfile
null = subprocess.DEVNULL
def test_it(tmp_path): {action}
"""
    )
    (tmp_path / "temporary").mkdir()
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", tmp_path],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path / "temporary")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    for word in run.stdout.split("sleeps ")[1:]:
        os.kill(int(word.split()[0]), signal.SIGKILL)
    left = [line for line in run.stdout.splitlines() if line.startswith("left behind: ")]
    assert "1 passed" in run.stdout
    assert (run.returncode, len(left)) == ((1, 1) if said else (0, 0)), run.stdout + run.stderr
    assert said in "".join(left)
    assert not list((tmp_path / "temporary").iterdir())
