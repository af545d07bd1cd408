"""`migrator status`: what is the matter, and what to do next, without touching anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Container, Store, build
from migrator.commands import checksums as checksumming
from migrator.commands import migrate as migration
from tests.command import migrator, snapshot
from tests.crash.faults import Fault, run

pytestmark = pytest.mark.root

CONTAINERS = (Container("db"), Container("web", 1, {"database": "db"}))


def legacy(memory: Path) -> Built:
    return build(Store(containers=CONTAINERS), memory / "root")


def hashed(memory: Path) -> None:
    checksumming.checksums(legacy(memory).root, workers=0)


def killed(memory: Path, command: str, operation: str) -> None:
    """Kill the command before the first such operation on a container."""
    root = memory / "root"
    migration.migrate(build(Store(containers=CONTAINERS), memory / "other").root, workers=0)
    (memory / "other").rename(root)
    if command == "migrate":
        shutil.rmtree(root)
        legacy(memory)
    shutil.copytree(root, memory / "trial", symlinks=True)
    points = run([command, "-g", memory / "trial", "-q"]).points
    wanted = f"{operation} {memory}/trial/containers/"
    number = next(n for n, point in enumerate(points) if point.startswith(wanted))
    assert run([command, "-g", root], fault=Fault.KILL, point=number).code == -9


def publishing(memory: Path) -> None:
    killed(memory, "migrate", "rename")


def undoing(memory: Path) -> None:
    killed(memory, "rollback", "unlink")


def migrated(memory: Path) -> None:
    migration.migrate(legacy(memory).root, workers=0)


def migrated_by_docker(memory: Path) -> None:
    migrated(memory)
    shutil.rmtree(memory / "root/.migrator")


def begun_by_docker(memory: Path) -> None:
    build(Store(earlier=True), memory / "root")


def of_vfs(memory: Path) -> None:
    (memory / "root/image/vfs").mkdir(parents=True)


def converting(memory: Path) -> None:
    migrated(memory)
    root = memory / "root"
    arguments = ["migrate", "-g", root, "-q", "--target-driver", "overlay2"]
    assert run(arguments, fault=Fault.BROKEN, point=40).code == 1


def converted(memory: Path) -> None:
    migration.migrate(legacy(memory).root, target_driver="overlay2", workers=0)


def content_addressed(memory: Path) -> None:
    (memory / "root/image/overlay2").mkdir(parents=True)


@pytest.mark.parametrize(
    ("prepare", "state", "next_step"),
    [
        (legacy, "legacy", "`migrator plan`, then `migrator migrate`"),
        (hashed, "legacy; a migration was interrupted before", "goes on with what is hashed"),
        (publishing, "interrupted while the migration was published", "`migrator migrate` fini"),
        (undoing, "interrupted while a migration was rolled back", "`migrator rollback` finishes"),
        (migrated, "migrated", "start Docker >= 1.10"),
        (migrated_by_docker, "migrated by Docker", "nothing to migrate"),
        (begun_by_docker, "legacy, with a content-addressed store", "adds what is missing"),
        (of_vfs, "content-addressed, without", "`migrator migrate --target-driver overlay2` for"),
        (converting, "a migration to overlay2 was interrupted before it", "goes on with what is"),
        (converted, "migrated to overlay2", "start Docker with the storage driver overlay2"),
        (content_addressed, "content-addressed, without a legacy store", "nothing to migrate"),
    ],
)
def test_tells_the_state(
    prepare: Callable[[Path], object], state: str, next_step: str, memory: Path
) -> None:
    prepare(memory)
    before = snapshot(memory / "root")

    told = migrator("status", "-g", memory / "root")

    assert (told.returncode, told.stderr) == (0, "")
    first, second = told.stdout.splitlines()
    assert first.startswith(f"{memory / 'root'}: {state}")
    assert next_step in second.replace(f" -g {memory / 'root'}", "")
    document = json.loads(migrator("status", "-g", memory / "root", "--json").stdout)
    assert f"{memory / 'root'}: {document['state']}" == first
    assert f"next: {document['next_step']}" == second
    assert snapshot(memory / "root") == before


def test_no_data_root(memory: Path) -> None:
    assert migrator("status", "-g", memory).returncode == 1
    assert migrator("status", "-g", memory / "missing").returncode == 1


def test_an_unknown_phase_is_an_error(memory: Path) -> None:
    migrated(memory)
    (memory / "root/.migrator/phase").write_text("of another version")
    for command in ("status", "migrate", "rollback"):
        told = migrator(command, "-g", memory / "root")
        assert told.returncode == 1
        assert "unknown phase 'of another version'" in told.stderr
