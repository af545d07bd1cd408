"""`verify` where several migrations lie on one another, and where Docker was in between."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from legacy_fixtures.build import Built, Container, Layer, Store, build, line
from migrator.commands import migrate as migration
from migrator.commands.rollback import rollback
from migrator.commands.status import status
from migrator.commands.verify import verify
from migrator.errors import StoreError
from migrator.report.verification import VerificationReport
from migrator.state.traces import sign_of_use_in
from tests.command import snapshot
from tests.crash.scenarios import Tree

CONTAINERS = (Container("db"), Container("web", 1, {"database": "db"}))
MORE = (*CONTAINERS, Container("new", 3, {"database": "db"}))


def small(memory: Path, *, earlier: bool = False, driver: str = "overlay") -> Built:
    store = Store(driver, line(2, 3), containers=CONTAINERS, checksums=True, earlier=earlier)
    return build(store, memory / "root")


def grow(built: Built, memory: Path, *, earlier: bool = False) -> None:
    """The old daemon goes on: two images, their tag, a link and a container come."""
    layers = (*line(2, 3), Layer(1, 2), Layer(2, 2))
    tags = {"app:latest": 1, "base:1": 0, "new:1": 3}
    driver = next(each.name for each in built.root.glob("repositories-*")).partition("-")[2]
    links = (Container("db"), Container("web", 1, {"database": "db", "next": "new"}), MORE[2])
    store = Store(driver, layers, containers=links, tags=tags, checksums=True)
    grown = build(store, memory / "grown")
    for directory in ("graph", "containers", driver):
        for name in os.listdir(grown.root / directory):
            if not (built.root / directory / name).exists():
                options = ["cp", "-a", grown.root / directory / name, built.root / directory]
                subprocess.run(options, check=True)
    for name in (f"repositories-{driver}", "linkgraph.db"):
        shutil.copy(grown.root / name, built.root)
    shutil.rmtree(grown.root)


def check(root: Path, **options: bool) -> VerificationReport:
    report = verify(root, workers=0, **options)
    assert report.findings == ()
    return report


def damage(path: Path) -> None:
    """Flip a bit of the file's last byte."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def migrated(root: Path, target: str | None = None) -> None:
    summary = migration.migrate(root, target_driver=target, workers=0)
    assert summary.nothing_to_do is None


@pytest.mark.parametrize(
    ("targets", "earlier"),
    [
        ((None, None), True),
        ((None, "overlay2"), True),
        ((None, "overlay2", None, "overlay2"), False),
        (("overlay2", "overlay2"), False),
    ],
)
def test_every_step_there_and_back_has_no_fault(
    targets: tuple[str | None, ...], earlier: bool, memory: Path
) -> None:
    built = small(memory, earlier=earlier)
    done: list[Tree] = []
    half = len(targets) // 2
    for number, target in enumerate(targets):
        if number == half:
            grow(built, memory)
            used = check(built.root, quick=True).used
            assert used == "graph was changed"
        done.append(snapshot(built.root))
        migrated(built.root, target)
        for driver in os.listdir(built.root / "image"):
            assert verify(built.root, driver, workers=0).findings == ()
        assert check(built.root, quick=True).used is None
    for number, before in reversed([*enumerate(done)]):
        if number == half - 1:
            with pytest.raises(StoreError, match="was added"):
                rollback(built.root)
        rollback(built.root, force=number < half)
        if number >= half:
            assert snapshot(built.root) == before
        if number:
            check(built.root, quick=True)


def test_what_was_replaced_is_held_against_the_last_manifest(memory: Path) -> None:
    built = small(memory)
    migrated(built.root)
    grow(built, memory)
    migrated(built.root)
    check(built.root)
    first, last = (
        json.loads((built.root / name / "manifest.json").read_text())
        for name in (".migrator", ".migrator-2")
    )
    again = {each["path"] for each in first["files"]} & {each["path"] for each in last["files"]}
    assert {path.rpartition("/")[2] for path in again} >= {
        *("repositories.json", "hostconfig.json", ".migration-v1-images.json"),
    }
    for path in again | {each["path"] for each in first["files"]}:
        before = (built.root / path).read_bytes()
        if before and not path.endswith("config.v2.json") and not path.endswith(".gz"):
            damage(built.root / path)
            found = {each.path for each in verify(built.root, quick=True).findings}
            (built.root / path).write_bytes(before)
            assert path in found


def docker(root: Path) -> None:
    """What a daemon of Docker >= 17.03 leaves of a start."""
    tmp, database = root / "tmp", root / "volumes/metadata.db"
    if tmp.exists():
        tmp.rmdir()
    tmp.mkdir()
    before = database.stat().st_mtime_ns if database.exists() else tmp.stat().st_mtime_ns
    database.write_bytes(database.read_bytes() + b"+" if database.exists() else b"bolt")
    # Nobody starts a daemon twice in one second.
    for path in (tmp, database):
        os.utime(path, ns=(before, before + 2 * 10**9))


def remove(root: Path, driver: str) -> None:
    """What `docker rm` of all containers and `docker rmi` of all images leave."""
    for path in root.glob(f"image/{driver}/*db/*/*"):
        if path.name != "sha256" or path.parent.name in ("content", "metadata"):
            shutil.rmtree(path)
            path.parent.mkdir(exist_ok=True)
    for path in (root / "containers").iterdir():
        shutil.rmtree(path)
    names = root / f"image/{driver}/repositories.json"
    before = names.stat().st_mtime_ns
    names.unlink()
    names.write_text('{"Repositories":{}}')
    os.utime(names, ns=(before, before + 2 * 10**9))


def whole(root: Path, copy: Path) -> None:
    subprocess.run(["cp", "-a", root, copy], check=True)


def cut(root: Path, copy: Path) -> None:
    """Times are cut to seconds, as many an archive has them."""
    copy.mkdir()
    packed = subprocess.run(
        ["tar", "-C", root, "--format=gnu", "-c", "."], check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-C", copy, "-xp"], check=True, input=packed.stdout)


def timeless(root: Path, copy: Path) -> None:
    subprocess.run(["cp", "-a", "--no-preserve=timestamps", root, copy], check=True)


@pytest.mark.parametrize("copied", [None, whole, cut, timeless])
def test_docker_was_there_before_a_conversion_and_after_it(
    copied: Callable[[Path, Path], None] | None, memory: Path
) -> None:
    root = small(memory).root
    migrated(root)
    docker(root)
    migrated(root, "overlay2")
    assert sign_of_use_in(root) is None
    if copied:
        copied(root, root := memory / "copied")
    check(root, quick=True)
    assert sign_of_use_in(root) is None
    config = next((root / "image/overlay2/imagedb/content/sha256").iterdir())
    repositories = root / "image/overlay2/repositories.json"
    for path in (config, repositories):
        content = path.read_bytes()
        path.unlink()
        assert sign_of_use_in(root) is None
        missing = {each.path for each in verify(root, quick=True).findings}
        assert str(path.relative_to(root)) in missing
        path.write_bytes(content)
    docker(root)
    remove(root, "overlay2")
    report = check(root)
    assert report.used == sign_of_use_in(root)
    assert report.used is not None


def test_a_copy_does_not_hide_use(memory: Path) -> None:
    for number, copied in enumerate((whole, cut, timeless)):
        (memory / str(number)).mkdir()
        root = small(memory / str(number)).root
        docker(root)
        migrated(root)
        docker(root)
        remove(root, "overlay")
        copied(root, copy := memory / str(number) / "copied")
        assert check(copy).used is not None


def test_docker_was_there_between_two_migrations(memory: Path) -> None:
    """What it removed then is no fault; what the second migration wrote is held against it."""
    built = small(memory)
    docker(built.root)
    migrated(built.root)
    docker(built.root)
    remove(built.root, "overlay")
    (built.root / ".migration-v1-tags").unlink()
    shutil.rmtree(built.root / "image")
    grow(built, memory)
    migrated(built.root)
    report = check(built.root)
    assert report.used is None
    manifest = json.loads((built.root / ".migrator-2/manifest.json").read_text())
    assert manifest["used"]
    damage(path := built.root / "image/overlay/repositories.json")
    assert str(path.relative_to(built.root)) in {
        each.path for each in verify(built.root, quick=True).findings
    }


def test_damage_is_no_use(memory: Path) -> None:
    """Nothing that happens to a published file, or to all of them, looks like Docker."""
    root = small(memory).root
    docker(root)
    migrated(root, "overlay2")
    paths = ("image/overlay2/*/*", "image/overlay2/*.json", "containers/*/config.v2.json")
    for path in (found for pattern in paths for found in root.glob(pattern)):
        aside = memory / "aside"
        path.rename(aside)
        assert sign_of_use_in(root) is None
        assert not verify(root, quick=True).passed
        aside.rename(path)
    check(root)


def test_status_says_that_docker_has_used_it(memory: Path) -> None:
    root = small(memory).root
    docker(root)
    migrated(root)
    assert status(root).state == "migrated"
    docker(root)
    said = status(root)
    assert said.state == "migrated; Docker has used it since: tmp was changed"
    assert "`migrator rollback --force`" in said.next_step


def test_the_old_daemon_has_removed_images(memory: Path) -> None:
    built = small(memory)
    migrated(built.root)
    shutil.rmtree(built.root / ".migrator")
    v1_id = built.v1_ids[1]
    for path in (f"graph/{v1_id}", f"overlay/{v1_id}"):
        shutil.rmtree(built.root / path)
    (finding,) = verify(built.root, workers=0).findings
    assert finding.name == built.chain_ids[1]
    assert "a Docker <= 1.9 that was started here again may have removed both" in finding.reason


def test_without_legacy_images_the_map_is_whole(memory: Path) -> None:
    built = small(memory)
    migrated(built.root)
    shutil.rmtree(built.root / "graph")
    check(built.root, quick=True)


def test_a_digit_of_the_map(memory: Path) -> None:
    """The manifest shows it, and so does the legacy store if Docker wrote the map."""
    built = small(memory)
    migrated(built.root)
    path = built.root / ".migration-v1-images.json"
    v1_id = built.v1_ids[0]
    other = v1_id[:-1] + ("0" if v1_id[-1] != "0" else "1")
    path.write_text(path.read_text().replace(v1_id, other))
    assert path.name in {each.path for each in verify(built.root, quick=True).findings}
    shutil.rmtree(built.root / ".migrator")
    (finding,) = verify(built.root, quick=True).findings
    assert (finding.path, f"the legacy image is {v1_id}" in finding.reason) == (path.name, True)


def test_a_layer_that_was_removed_and_loaded_again(memory: Path) -> None:
    built = small(memory)
    docker(built.root)
    migrated(built.root)
    layer = built.root / f"image/overlay/layerdb/sha256/{built.chain_ids[1][7:]}"
    data = {path.name: path.read_bytes() for path in layer.iterdir()}
    shutil.rmtree(layer)
    layer.mkdir()
    new = "ab" * 32
    for name, content in data.items():
        (layer / name).write_bytes(new.encode() if name == "cache-id" else content)
    (built.root / "overlay" / built.v1_ids[1]).rename(built.root / "overlay" / new)
    path = str((layer / "cache-id").relative_to(built.root))
    assert path in {each.path for each in verify(built.root, quick=True).findings}
    docker(built.root)
    check(built.root)
    with (layer.parent / built.chain_ids[0][7:] / "tar-split.json.gz").open("r+b") as file:
        file.write(b"\x1e")
    (finding,) = verify(built.root, quick=True).findings
    assert finding.reason == "its content is not what the migration wrote"


def test_a_root_that_docker_1_10_migrated_and_docker_1_9_went_on_with(
    store_copy: Callable[[str], Path],
) -> None:
    """The old daemon took an image away that the new one needs; that is all that is wrong."""
    root = store_copy("docker-1.9.1-overlay-again")
    migrated(root)
    (finding,) = verify(root, workers=0).findings
    assert "a Docker <= 1.9 that was started here again may have removed both" in finding.reason


def test_the_mount_of_a_container_that_the_old_daemon_removed(memory: Path) -> None:
    built = small(memory)
    migrated(built.root)
    container = built.container_ids["web"]
    for name in (container, f"{container}-init"):
        shutil.rmtree(built.root / "overlay" / name)
    path = f"image/overlay/layerdb/mounts/{container}"
    found = {each.path for each in verify(built.root, quick=True).findings}
    assert found == {f"{path}/mount-id", f"{path}/init-id"}
    shutil.rmtree(built.root / "containers" / container)
    (finding,) = verify(built.root, quick=True).findings
    assert finding.path == f"containers/{container}"
    os.utime(built.root / "linkgraph.db")
    assert check(built.root, quick=True).used == "linkgraph.db was written"
