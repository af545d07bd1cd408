"""A second migration where a real Docker has used the first one's result."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.command import dump, migrator, snapshot
from tests.docker.conftest import Served
from tests.docker.stores import Store

_LATE = "e" * 64
_LAYERS = {"overlay": "overlay/{}", "vfs": "vfs/dir/{}", "btrfs": "btrfs/subvolumes/{}"}


def test_docker_used_it_and_the_old_daemon_went_on(private: Served, tmp_path: Path) -> None:
    store = private.store
    root = store.root
    store.migrate()
    with private.daemon as daemon:
        shell = ("--network", "none", "twin/b", "/bin/sh", "-c")
        daemon.docker("run", "--name", "mine", *shell, "echo mine")
        (tmp_path / "mine").write_text("mine")
        daemon.docker("cp", tmp_path / "mine", "mine:/mine")
        daemon.docker("commit", "mine", "mine:1")
        daemon.docker("rm", "mine")
        daemon.docker("run", "--name", "kept", *shell, "echo kept")
        daemon.docker("rmi", "tiny")
    first = dump(root, store.driver)
    _grow(store)
    before = snapshot(root)

    # Twice: undone by itself, it leaves what was there, exactly, and can be done again.
    for _ in range(2):
        run = migrator("migrate", "--graph", root, "--progress", "none")
        assert run.returncode == 3, run.stderr
        assert "1 migrated" in run.stdout
        second = dump(root, store.driver)
        for kind in ("images", "layers", "mounts", "containers", "distribution"):
            assert first[kind].items() <= second[kind].items()
        late = second["id_map"][_LATE]
        assert {f"sha256:{x}" for x in second["images"].keys() - first["images"].keys()} == {late}
        names = second["repositories"]["Repositories"]
        assert names == {**first["repositories"]["Repositories"], "late": {"late:1": late}}
        assert migrator("verify", "--graph", root).returncode == 0
        undone = migrator("rollback", "--graph", root)
        assert undone.returncode == 0, undone.stderr
        assert snapshot(root) == before

    migrator("migrate", "--graph", root, "--progress", "none")
    with private.daemon as daemon:
        daemon.docker("run", "--rm", "--network", "none", "late:1", "/bin/sh", "-c", "echo late")
        assert daemon.docker("start", "--attach", "kept") == "kept"
        assert daemon.docker(
            "run", "--rm", "--network", "none", "mine:1", "/bin/sh", "-c", "cat /mine"
        )
        assert daemon.inspect("image", "late:1")[0]["Id"] == late
        daemon.docker("tag", "late:1", "late:2")
    assert private.errors() == []
    for _ in range(2):
        now = snapshot(root)
        refused = migrator("rollback", "--graph", root)
        assert refused.returncode == 1
        assert "changed since the migration" in refused.stderr
        assert " was added" in refused.stderr or " was changed" in refused.stderr
        assert snapshot(root) == now
        assert migrator("rollback", "--graph", root, "--force").returncode == 0
    legacy = snapshot(root / "graph")
    assert legacy == snapshot(store.legacy / "graph") | {
        path: entry for path, entry in legacy.items() if path.startswith(_LATE)
    }


def _grow(store: Store) -> None:
    """An image of the old daemon's on top of one that was migrated, with a name."""
    root, driver = store.root, store.driver
    path = root / f"repositories-{driver}"
    repositories = json.loads(path.read_text())
    base = repositories["Repositories"]["twin/b"]["latest"]
    graph, layer = root / "graph", root / _LAYERS[driver].format(_LATE)
    config = json.loads((graph / base / "json").read_text())
    config |= {"id": _LATE, "parent": base, "comment": "late"}
    (graph / _LATE).mkdir()
    (graph / _LATE / "json").write_text(json.dumps(config))
    (graph / _LATE / "layersize").write_text("5")
    _copy(root / _LAYERS[driver].format(base), layer, driver)
    content = layer / "root" if driver == "overlay" else layer
    (content / "late").write_text("late\n")
    repositories["Repositories"]["late"] = {"1": _LATE}
    path.write_text(json.dumps(repositories))


def _copy(source: Path, target: Path, driver: str) -> None:
    if driver == "btrfs":
        snapshot_of = ["btrfs", "subvolume", "snapshot", source, target]
        subprocess.run(snapshot_of, check=True, stdout=subprocess.DEVNULL)
    else:
        options = "-al" if driver == "overlay" else "-a"
        subprocess.run(["cp", options, source, target], check=True)
