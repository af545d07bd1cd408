"""A migrated store in use: containers start, images come and go, daemons are restarted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docker.conftest import Served
from tests.docker.daemon import Daemon
from tests.docker.test_files import tree

_EXITED_WITH = {"exited": 3, "committer": 0}


def test_daemon_finds_everything_at_every_start(private: Served) -> None:
    private.store.migrate()
    for _ in range(2):
        with private.daemon:
            _everything_is_there(private)
    with private.daemon as daemon:
        daemon.docker("start", "--attach", "created")
        daemon.docker("commit", "created", "mine:1")
        daemon.docker("run", "--network", "none", "--name", "new", "mine:1")
    with private.daemon as daemon:
        _everything_is_there(private, images=1, containers=1)
        assert daemon.docker("start", "--attach", "new") == "<hi> & bye"

    assert private.errors() == []


def test_stopped_container_starts_with_what_it_had_written(private: Served) -> None:
    (container,) = (
        container
        for container, config in private.store.containers().items()
        if config["Name"] == "/committer"
    )
    note = private.store.writable(container) / "opt" / "note"
    note.write_text("written long ago")
    note.chmod(0o640)
    private.store.migrate()

    with private.daemon as daemon:
        assert daemon.docker("diff", "committer").splitlines() == [
            *("C /opt", "A /opt/note", "D /opt/gone", "A /committed"),
        ]
        daemon.docker("start", "--attach", "committer")
        daemon.docker("commit", "committer", "kept:1")
        shell = ["run", "--rm", "--network", "none", "kept:1", "-c"]
        assert daemon.docker(*shell, "cat /opt/note") == "written long ago"
        assert daemon.docker(*shell, "cat /committed") == "yes"
        gone = daemon.run(*shell, "cat /opt/gone", check=False)
        assert gone.stdout + gone.stderr == "no file\n"

    assert private.errors() == []
