"""Root that lacks capabilities, as in a container: said before anything is done, or not needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import MissingCapability
from migrator.system import capabilities
from migrator.system.capabilities import TO_BUILD, TO_COMPARE, TO_REMOVE, Capability
from tests.command import dump, migrator, snapshot

StoreCopy = Callable[[str], Path]
Golden = Callable[[str], dict[str, Any]]

NAME = "docker-1.9.1-overlay"
TARGET = ("--target-driver", "overlay2", "--progress", "none")
NOBODY = 65534


def only(names: Iterable[Capability]) -> tuple[str, ...]:
    """A command's wrapper that leaves root no other capabilities."""
    left = "".join(f",+{name.name.lower()}" for name in sorted(names))
    return ("setpriv", "--inh-caps=-all", f"--bounding-set=-all{left}")


@pytest.mark.parametrize("lacking", [Capability.FSETID, Capability.SYS_ADMIN])
def test_nothing_is_begun_without_one_that_building_takes(
    lacking: Capability, store: StoreCopy
) -> None:
    root = store(NAME)
    before = snapshot(root)

    run = migrator("migrate", "-g", root, *TARGET, wrapper=only(TO_BUILD - {lacking}))

    assert run.returncode == 1
    assert f"migrating to overlay2 needs CAP_{lacking.name}, which this process lacks" in run.stderr
    assert f"docker run --cap-add {lacking.name} (" in run.stderr
    assert (snapshot(root) == before) is True


def test_those_are_enough_to_build_verify_and_undo(
    store_copy: StoreCopy, store: StoreCopy, tmp_path: Path
) -> None:
    root, wrapper = store_copy(NAME), only(TO_BUILD)
    expected = tmp_path / "by all of root's"
    subprocess.run(["cp", "-a", store(NAME), expected], check=True)
    assert migrator("migrate", "-g", expected, *TARGET).returncode == 3

    assert migrator("plan", "-g", root, *TARGET[:2], "-q", wrapper=wrapper).returncode == 3
    assert migrator("migrate", "-g", root, *TARGET, wrapper=wrapper).returncode == 3
    built, wanted = _trees(root), _trees(expected)
    assert built
    assert [path for path in {**wanted, **built} if built.get(path) != wanted.get(path)] == []

    refused = migrator("verify", "-g", root, wrapper=only(TO_BUILD - TO_COMPARE))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "needs CAP_SYS_ADMIN" in refused.stderr
    assert migrator("verify", "-g", root, wrapper=wrapper).returncode == 0

    published = snapshot(root)
    refused = migrator("rollback", "-g", root, wrapper=only({Capability.DAC_OVERRIDE}))
    assert refused.returncode == 1
    assert "needs CAP_FOWNER and CAP_SYS_ADMIN, which" in refused.stderr
    assert (snapshot(root) == published) is True
    undone = migrator("rollback", "-g", root, wrapper=only(TO_REMOVE | TO_COMPARE))
    assert undone.returncode == 0, undone.stderr
    assert (snapshot(root) == snapshot(store(NAME))) is True


def _trees(root: Path) -> dict[str, tuple[object, ...]]:
    """The layers' files in overlay2/, whose directories have the same names on every run."""
    return {
        path: (*described[:4], described[5])
        for path, described in snapshot(root / "overlay2", without=("l",)).items()
        if "/diff/" in path
    }


@pytest.mark.parametrize("command", ["migrate", "checksums"])
def test_a_layer_that_may_not_be_read_is_not_left_out(command: str, store: StoreCopy) -> None:
    root = store(NAME)
    before = snapshot(root)

    run = migrator(command, "-g", root, "--progress", "none", wrapper=only(()))

    assert run.returncode == 1
    assert "needs CAP_DAC_OVERRIDE, which this process lacks" in run.stderr
    assert f"{root}/overlay/" in run.stderr
    assert (snapshot(root) == before) is True


def test_files_of_ones_own_take_none(store_copy: StoreCopy, golden: Golden) -> None:
    root = store_copy("docker-1.9.1-overlay-pulled")
    _give(root, 0)

    run = migrator("migrate", "-g", root, "--progress", "none", wrapper=only(()))

    assert run.returncode == 0, run.stderr
    assert dump(root, "overlay")["id_map"] == golden("docker-1.9.1-overlay-pulled")["id_map"]
    assert migrator("rollback", "-g", root, wrapper=only(())).returncode == 0


def _give(root: Path, owner: int) -> None:
    for directory, subdirectories, files in os.walk(root):
        for name in (".", *subdirectories, *files):
            path = os.path.join(directory, name)
            os.chown(path, owner, owner, follow_symlinks=False)


def test_a_data_root_of_another_user_is_no_riddle(store_copy: StoreCopy) -> None:
    root = store_copy(NAME)
    os.chown(root, NOBODY, NOBODY)
    _give(root / "graph", NOBODY)

    for command in ("plan", "migrate", "export"):
        output = ("-o", root.with_name("out")) if command == "export" else ()
        run = migrator(command, "-g", root, *output, wrapper=only(()))
        assert run.returncode == 1
        assert "--cap-add DAC_OVERRIDE" in run.stderr
        assert not (root / ".migrator").exists()


def test_each_that_building_takes_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for lacking in TO_BUILD:
        monkeypatch.setattr(capabilities, "effective", lambda lacking=lacking: TO_BUILD - {lacking})
        with pytest.raises(MissingCapability, match=f"needs CAP_{lacking.name}, which"):
            capabilities.require(TO_BUILD, "it", Path("/"))


def test_in_a_user_namespace_some_do_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert capabilities.effective() == set(Capability)
    uid_map = tmp_path / "uid_map"
    uid_map.write_text("         0     100000      65536\n")
    monkeypatch.setattr(capabilities, "_UID_MAP", uid_map)
    assert set(Capability) - capabilities.effective() == {Capability.SYS_ADMIN, Capability.MKNOD}
