"""A signal that comes while the program is still being loaded ends it at once, with code 4."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import process

# Imported before all else that Python imports: notes which modules are looked for, and
# sends a signal when the one with that number is.
_SITECUSTOMIZE = """
import os, signal, sys

class Watch:
    def __init__(self):
        self.names = []
        self.at, self.number = (int(os.environ[n]) for n in ("AT", "SIGNAL"))

    def find_spec(self, name, path=None, target=None):
        if not self.names and name != "migrator.entry":
            return None
        self.names.append(name)
        if len(self.names) - 1 == self.at:
            os.kill(os.getpid(), self.number)
        return None

watch = Watch()
sys.meta_path.insert(0, watch)
if os.environ.get("NAMES"):
    import atexit
    atexit.register(lambda: open(os.environ["NAMES"], "w").write("\\n".join(watch.names)))
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PYTHONPATH that makes every Python watch its imports."""
    directory = tmp_path_factory.mktemp("watched")
    (directory / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return directory


def environment(watched: Path, at: int, number: int = 0) -> dict[str, str]:
    return {"PYTHONPATH": str(watched), "AT": str(at), "SIGNAL": str(number)}


@pytest.fixture(scope="module")
def names(watched: Path) -> list[str]:
    """All modules that a command imports, once the entry is there, in order."""
    listing = watched / "names"
    env = {**environment(watched, -1), "NAMES": str(listing)}
    assert process("status", "-g", watched, env=env).returncode == 1
    return listing.read_text().split("\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_quietly_whatever_is_being_imported(
    number: signal.Signals, names: list[str], watched: Path
) -> None:
    # What the entry itself imports comes before it can do anything.
    first = names.index("migrator.cli")
    for at in (first, first + 1, *range(first + 20, len(names), len(names) // 5)):
        run = process("status", "-g", watched, env=environment(watched, at, number))
        assert (run.returncode, run.stdout, run.stderr) == (4, "", ""), names[at]


def test_little_is_imported_before_signals_are_looked_after(names: list[str]) -> None:
    before = names[: names.index("migrator.cli")]
    assert [name for name in before if name.startswith("migrator")] == ["migrator.entry"]
    assert not {"click", "orjson", "msgspec", "tqdm"}.intersection(before)


def test_the_console_script_begins_there_too(watched: Path, names: list[str]) -> None:
    script = shutil.which("migrator", path=str(Path(sys.executable).parent))
    assert script is not None
    env = environment(watched, names.index("click"), signal.SIGINT)
    run = subprocess.run([script, "--help"], env=env, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (4, "", "")


def test_an_ignored_signal_stays_ignored(watched: Path, names: list[str]) -> None:
    # As a shell does it for what it starts in the background.
    run = process(
        "--version",
        env=environment(watched, names.index("click"), signal.SIGINT),
        wrapper=("sh", "-c", 'trap "" INT; exec "$@"', "sh"),
    )
    assert (run.returncode, run.stderr) == (0, "")
