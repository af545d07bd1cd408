"""Stores migrated to overlay2, from any driver and either kind of store, in use by Docker 20.10."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator import drivers
from tests.command import migrator, snapshot
from tests.docker.conftest import Served, in_one_worker
from tests.docker.daemon import Daemon
from tests.docker.shown import check_exported, check_mounted, check_running, check_saved, has_shell
from tests.docker.stores import SOURCES, store_for_daemon
from tests.docker.trees import tree

# What the containers of the stores have changed; on aufs Docker's mtab counts as theirs.
CHANGES = {
    "committer": {"A /committed", "C /opt", "D /opt/gone"},
    "exited": {"A /root-file", "C /etc", "D /etc/new"},
}
MTAB = {"C /etc", "C /etc/mtab"}

IN_PLACE_BEFORE = "docker-1.9.1-aufs"
CONFIG = "config.v2.json"

DOCKERFILE = """\
FROM scratch
COPY sh /bin/sh
COPY kept gone /d/
RUN ["/bin/sh", "-c", "rm /d/gone; put /made yes"]
CMD ["/bin/sh", "-c", "cat /d/kept; put /started yes"]
"""


@pytest.fixture(scope="module", params=in_one_worker(SOURCES))
def converted(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    store: Callable[[str], Path],
    golden: Callable[[str], dict[str, Any]],
) -> Iterator[Served]:
    """A store that was migrated to overlay2, one of them in place before, and a daemon on it."""
    directory = tmp_path_factory.mktemp("converted")
    with store_for_daemon(request.param, directory, store, golden) as copy:
        if request.param == IN_PLACE_BEFORE:
            copy.migrate()
        before = snapshot(copy.root)
        copy.convert()
        after = snapshot(copy.root)
        changed = {path for path in before if after[path] != before[path]}
        assert {path.rpartition("/")[2] for path in changed} <= {CONFIG, "hostconfig.json"}
        assert migrator("verify", "-g", copy.root, "--deep").returncode == 0
        layers = snapshot(copy.root / copy.driver)
        with Daemon(copy.root, "overlay2") as daemon:
            yield Served(copy, daemon)
        daemon.remove()
        assert snapshot(copy.root / copy.driver) == layers


def test_images_show_their_files(converted: Served, tmp_path: Path) -> None:
    """Those with a name from inside, or as they are exported; those below as they are mounted."""
    daemon, store = converted.daemon, converted.store
    # Random changes made links between files of different layers, of which no driver knows.
    links = not store.name.endswith("-trees")
    named = {row["ID"] for row in daemon.table("images")}
    for image_id in store.image_ids:
        image = store.tree(image_id)
        if image_id not in named:
            check_mounted(daemon, image_id, image, tmp_path / "mounted", links=links)
        elif has_shell(image):
            check_running(daemon, image_id, image, links=links)
        else:
            check_exported(daemon, image_id, image, tmp_path / image_id, links=links)


def test_saved_layers_are_those_of_the_ids(converted: Served, tmp_path: Path) -> None:
    check_saved(converted.daemon, converted.store, tmp_path / "images.tar")


def test_containers_start_with_their_own_changes(converted: Served) -> None:
    daemon, store = converted.daemon, converted.store
    for container, config in store.containers().items():
        name = config["Name"].removeprefix("/")
        expected = CHANGES.get(name, set()) | (MTAB if store.driver == "aufs" else set())
        image = store.tree(store.golden["id_map"][config["Image"]])
        if not os.path.lexists(image / "etc/new"):
            expected = expected - {"D /etc/new"}
        assert set(daemon.docker("diff", container).splitlines()) == expected, name
        # It needs another container to be running, or has lost its shell in a random change.
        if name != "linked" and has_shell(image):
            code = daemon.run("start", "--attach", container, check=False).returncode
            assert code == config["State"]["ExitCode"], name
        assert set(daemon.docker("diff", container).splitlines()) >= expected, name


def test_a_thin_pool(
    tmp_path: Path,
    store: Callable[[str], Path],
    golden: Callable[[str], dict[str, Any]],
) -> None:
    """The pool's images, as the devices' file systems have them, and its containers."""
    name = "docker-1.9.1-devicemapper"
    legacy, root, expected = store(name), tmp_path / "root", golden(name)
    subprocess.run(["cp", "-a", "--sparse=always", legacy, root], check=True)
    assert migrator("migrate", "-g", root, "--target-driver", "overlay2").returncode == 3
    layers = {image_id: v1_id for v1_id, image_id in sorted(expected["id_map"].items())}
    driver = drivers.get("devicemapper", legacy)
    with Daemon(root, "overlay2") as daemon:
        named = {row["ID"] for row in daemon.table("images")}
        with driver.opened():
            for image_id, v1_id in layers.items():
                with driver.prepared(v1_id):
                    image = driver.layer_root(v1_id)
                    if image_id in named and has_shell(image):
                        check_running(daemon, image_id, image)
                    else:
                        check_mounted(daemon, image_id, image, tmp_path / "mounted")
        for container, text in expected["containers"].items():
            config = json.loads(text or "null")
            # One needs another container to be running.
            if config is not None and config["Name"] != "/linked":
                code = daemon.run("start", "--attach", container, check=False).returncode
                assert code == config["State"]["ExitCode"], config["Name"]
    daemon.remove()


@pytest.fixture(params=["overlay", "vfs"])
def used(
    request: pytest.FixtureRequest, tmp_path: Path, store: Callable[[str], Path]
) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """A data root that Docker 20.10 made and used, its storage driver, and what it showed."""
    driver: str = request.param
    root, context = tmp_path / "root", tmp_path / "context"
    root.mkdir()
    context.mkdir()
    shell = next(store("docker-1.9.1-overlay").glob("overlay/*/root/bin/sh"))
    shutil.copy(shell, context / "sh")
    for name in ("kept", "gone"):
        (context / name).write_text(name)
    (context / "Dockerfile").write_text(DOCKERFILE)
    with Daemon(root, driver) as daemon:
        daemon.docker("build", "--network", "none", "--tag", "built:1", context)
        change = "rm /d/kept; put /d/kept other; put /new yes; rm /made"
        shell_command = ["--network", "none", "built:1", "/bin/sh", "-c"]
        daemon.docker("run", "--name", "changed", *shell_command, change)
        daemon.docker("create", "--name", "fresh", "--network", "none", "built:1")
        daemon.docker("commit", "changed", "committed:1")
        shown = described(daemon, tmp_path)
    daemon.remove()
    yield root, driver, shown
    shutil.rmtree(root)


def described(daemon: Daemon, directory: Path) -> dict[str, Any]:
    """What a daemon shows of its images and containers, but for what belongs to the driver."""
    images = {row["ID"] for row in daemon.table("images", "--all")}
    tags = {f"{row['Repository']}:{row['Tag']}": row["ID"] for row in daemon.table("images")}
    layers = {each["Id"]: each["RootFS"] for each in daemon.inspect("image", *images)}
    containers = {}
    for row in daemon.table("ps", "--all"):
        name = row["Names"]
        daemon.docker("export", "--output", directory / f"{name}.tar", name)
        (unpacked := directory / name).mkdir()
        subprocess.run(["tar", "-C", unpacked, "-xpf", directory / f"{name}.tar"], check=True)
        changes = sorted(daemon.docker("diff", name).splitlines())
        containers[name] = (row["ID"], row["State"], changes, tree(unpacked, besides=set()))
        shutil.rmtree(unpacked)
    return {"tags": tags, "layers": layers, "containers": containers}


def test_store_that_docker_made_and_used(
    used: tuple[Path, str, dict[str, Any]], tmp_path: Path
) -> None:
    root, driver, shown = used
    before = snapshot(root)
    migrate = ("migrate", "-g", root, "--target-driver", "overlay2")
    assert migrator(*migrate).returncode == 0
    assert migrator("rollback", "-g", root).returncode == 0
    assert snapshot(root) == before
    assert migrator(*migrate).returncode == 0
    assert migrator("verify", "-g", root, "--deep").returncode == 0
    after = snapshot(root)
    changed = {path for path in before if after[path] != before[path]}
    assert {path.rpartition("/")[2] for path in changed} == {CONFIG}

    with Daemon(root, "overlay2") as daemon:
        assert described(daemon, tmp_path) == shown
        assert daemon.docker("start", "--attach", "fresh") == "kept"
        assert daemon.docker("diff", "fresh") == "A /started"
        (context := tmp_path / "more").mkdir()
        lines = ("FROM committed:1", 'RUN ["/bin/sh", "-c", "cat /d/kept; put /more yes"]')
        (context / "Dockerfile").write_text("\n".join(lines))
        daemon.docker("build", "--network", "none", "--tag", "more:1", context)
        options = ("--rm", "--network", "none", "more:1", "/bin/sh", "-c")
        assert daemon.docker("run", *options, "cat /d/kept; cat /more; cat /new").split() == [
            "other",
            "yes",
            "yes",
        ]
        assert daemon.errors() == []
    daemon.remove()

    refused = migrator("rollback", "-g", root)
    assert refused.returncode == 1
    assert "was added" in refused.stderr
    assert migrator("rollback", "-g", root, "--force").returncode == 0
    after = snapshot(root)
    kept = {path for path in before if path.startswith((f"{driver}/", f"image/{driver}/"))}
    kept |= {path for path in before if path.endswith(CONFIG)}
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    assert not [path for path in after if path.startswith(("overlay2", "image/overlay2", ".migr"))]
    with Daemon(root, driver) as daemon:
        assert described(daemon, tmp_path)["containers"].keys() == shown["containers"].keys()
    daemon.remove()
