"""`migrator rollback`: exactly what was there before, or a refusal that says why."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from legacy_fixtures.build import Built, Container, Store, build, line
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.commands.status import status
from migrator.state.manifest import Entry, Manifest, file_digest
from tests.command import dump, migrator, snapshot
from tests.crash.faults import Fault, run
from tests.scratch import scratch

CONTAINERS = (Container("db"), Container("web", 1, {"database": "db"}))


@pytest.fixture
def built() -> Iterator[Built]:
    with scratch() as directory:
        yield build(Store(layers=line(2), containers=CONTAINERS), directory / "root")


def published(root: Path) -> str:
    """A point at which images are published and containers are not."""
    return f"rename {root}/containers/"


def interrupted(built: Built, at: Callable[[Path], str]) -> None:
    """Kill a migration at the first point that begins with what `at` says."""
    points = run(["migrate", "-g", built.root, "-q"]).points
    rollback(built.root)
    number = next(n for n, point in enumerate(points) if point.startswith(at(built.root)))
    assert run(["migrate", "-g", built.root], fault=Fault.KILL, point=number).code == -9


@pytest.mark.parametrize("name", ["docker-1.9.1-overlay", "docker-1.7.1-aufs-trees"])
def test_gives_back_the_store_and_migrates_again(
    name: str, store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = store_copy(name)
    before = snapshot(root)
    for _ in range(2):
        assert migrator("migrate", "-g", root, "-q").returncode == 3
        assert dump(root, name.split("-")[2]) == golden(name)
        run = migrator("rollback", "-g", root)
        assert (run.returncode, run.stderr) == (0, "")
        assert snapshot(root) == before


def test_without_a_migration_there_is_nothing_to_undo(built: Built, tmp_path: Path) -> None:
    before = snapshot(built.root)
    run = migrator("rollback", "-g", built.root)
    assert run.returncode == 1
    assert "nothing here that could be rolled back" in run.stderr
    assert snapshot(built.root) == before
    assert "holds no Docker store" in migrator("rollback", "-g", tmp_path).stderr


def test_needs_no_driver(built: Built) -> None:
    (built.root / "aufs").mkdir()
    (built.root / "repositories-aufs").touch()
    before = snapshot(built.root)
    migration.migrate(built.root, "overlay", workers=0)
    assert migrator("rollback", "-g", built.root).returncode == 0
    assert snapshot(built.root) == before


def add_container(built: Built) -> str:
    (built.root / "containers/new").mkdir()
    return "containers/new was added"


def add_image(built: Built) -> str:
    (built.root / "image/overlay/imagedb/content/sha256/new").touch()
    return "image/overlay/imagedb/content/sha256/new was added"


def add_directory(built: Built) -> str:
    (built.root / "network").mkdir()
    return "network was added"


def change_tags(built: Built) -> str:
    (built.root / "image/overlay/repositories.json").write_text("{}")
    return "image/overlay/repositories.json was changed"


def change_container(built: Built) -> str:
    path = f"containers/{built.container_ids['web']}/hostconfig.json"
    (built.root / path).write_text("{}")
    return f"{path} was changed"


def remove_layer(built: Built) -> str:
    path = f"image/overlay/layerdb/sha256/{built.chain_ids[1].removeprefix('sha256:')}/diff"
    (built.root / path).unlink()
    return f"{path} was removed"


def remove_marker(built: Built) -> str:
    (built.root / ".migration-v1-tags").unlink()
    return ".migration-v1-tags was removed"


OURS = (add_image, change_tags, change_container, remove_layer, remove_marker)


@pytest.mark.parametrize("change", [add_container, add_directory, *OURS])
def test_refuses_what_was_changed_since(change: Callable[[Built], str], built: Built) -> None:
    before = snapshot(built.root)
    migration.migrate(built.root, workers=0)
    reason = change(built)
    changed = snapshot(built.root)

    run = migrator("rollback", "-g", built.root)

    assert run.returncode == 1
    assert reason in run.stderr
    assert "--force" in run.stderr
    assert snapshot(built.root) == changed

    assert migrator("rollback", "-g", built.root, "--force").returncode == 0
    after = snapshot(built.root)
    # What was added outside of what migrate made is not taken away.
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) <= {"containers/new", "network"}


def test_an_old_daemon_may_go_on_with_what_is_published_in_part(built: Built) -> None:
    interrupted(built, published)
    hostconfig = f"containers/{built.container_ids['web']}/hostconfig.json"
    with (built.root / hostconfig).open("a") as file:
        file.write(" ")
    (built.root / "containers/new").mkdir()
    (built.root / "tmp/pull").touch()
    (built.root / "extra").touch()
    now = snapshot(built.root, without=("image", ".migrator"))

    assert migrator("rollback", "-g", built.root).returncode == 0
    assert snapshot(built.root) == now


def test_what_an_old_daemon_did_in_between_is_migrated(built: Built) -> None:
    interrupted(built, published)
    repositories = built.root / "repositories-overlay"
    repositories.write_text(f'{{"Repositories":{{"late":{{"1":"{built.v1_ids[0]}"}}}}}}')

    assert migrator("migrate", "-g", built.root, "-q").returncode == 0
    assert list(dump(built.root, "overlay")["repositories"]["Repositories"]) == ["late"]


def test_a_new_daemon_may_go_on_with_what_is_published_whole(built: Built) -> None:
    points = run(["migrate", "-g", built.root, "-q"]).points
    last = max(n for n, p in enumerate(points) if p == f"rename {built.root}/.migrator/phase")
    rollback(built.root)
    run(["migrate", "-g", built.root], fault=Fault.KILL, point=last)
    assert status(built.root).state == "interrupted while the migration was published"
    add_image(built)
    change_tags(built)
    before = snapshot(built.root, without=(".migrator",))

    again = migrator("migrate", "-g", built.root)

    assert again.returncode == 0
    assert "already migrated" in again.stdout
    assert snapshot(built.root, without=(".migrator",)) == before


def test_files_are_copied_where_they_cannot_be_linked(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    before = snapshot(built.root)
    monkeypatch.setattr(os, "link", refuse)
    migration.migrate(built.root, workers=0)
    rollback(built.root)
    assert snapshot(built.root) == before


def test_a_replaced_file_keeps_mode_and_owner(built: Built) -> None:
    hostconfig = built.root / "containers" / built.container_ids["web"] / "hostconfig.json"
    hostconfig.chmod(0o666)
    before = hostconfig.stat()
    migration.migrate(built.root, workers=0)
    after = hostconfig.stat()
    assert b"/db:database" in hostconfig.read_bytes()
    assert (after.st_mode, after.st_uid, after.st_gid) == (0o100666, before.st_uid, before.st_gid)


def test_a_directory_elsewhere_is_refused_before_anything_is_done(built: Built) -> None:
    (elsewhere := built.root.with_name("elsewhere")).mkdir()
    (built.root / "image").symlink_to(elsewhere)
    before = snapshot(built.root)
    run = migrator("migrate", "-g", built.root)
    assert run.returncode == 1
    assert "image: stands where a directory has to be" in run.stderr
    assert snapshot(built.root, without=(".migrator",)) == before


def test_a_damaged_manifest_is_not_followed(built: Built) -> None:
    migration.migrate(built.root, workers=0)
    manifest = built.root / ".migrator/manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"layerdb", b"layerdc", 1))
    before = snapshot(built.root)
    run = migrator("rollback", "-g", built.root)
    assert run.returncode == 1
    assert "the manifest is damaged" in run.stderr
    assert snapshot(built.root) == before


@pytest.mark.parametrize("path", ["../outside/file", "/outside/file", "image/../../outside/file"])
def test_manifest_of_a_stranger_removes_nothing_elsewhere(path: str, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root / "graph", root / "overlay", root / ".migrator", outside):
        directory.mkdir(parents=True)
    (outside / "file").write_bytes(b"")
    entry = Entry(path, file_digest(outside / "file"), 0o600, 1, 1)
    Manifest("overlay", [entry]).save(root / ".migrator/manifest.json")
    (root / ".migrator/phase").write_text("published")
    run = migrator("rollback", "-g", root, "--force")
    assert run.returncode == 1
    assert "not a manifest" in run.stderr
    assert (outside / "file").exists()


def test_link_in_the_data_root_leads_rollback_nowhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root / "graph", root / "overlay", root / ".migrator", outside):
        directory.mkdir(parents=True)
    (outside / "file").write_bytes(b"")
    (root / "image").symlink_to(outside)
    entry = Entry("image/file", file_digest(outside / "file"), 0o600, 1, 1)
    Manifest("overlay", [entry]).save(root / ".migrator/manifest.json")
    (root / ".migrator/phase").write_text("published")
    run = migrator("rollback", "-g", root, "--force")
    assert run.returncode == 1
    assert "symbolic link" in run.stderr
    assert (outside / "file").exists()
