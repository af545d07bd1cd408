"""Layers that BuildKit made, which is in Docker 18.06 and later, and what was made on them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrator import verify
from tests.command import migrator
from tests.docker.daemon import Daemon
from tests.walk.actions import BUSYBOX
from tests.walk.shown import Shown, described
from tests.walk.walking import check

BUILDKIT = {"DOCKER_BUILDKIT": "1"}
PROGRAMS = ("sh", "cat", "ln", "mkdir", "rm", "touch")
BEGIN = ("FROM scratch", "COPY file /file", "COPY file /again")
CHANGES = (
    "mkdir -p /d/e; echo 1 >/d/e/f; echo 1 >/d/g; ln -s d /l; ln /d/g /d/h",
    "rm -rf /d/e; mkdir /d/e; echo 2 >/d/e/new; rm /d/g /l",
    "rm /file; rm -rf /d/e; echo 3 >/d/e",
)

Root = tuple[Path, str, Shown]


@pytest.fixture(scope="module", params=["overlay", "overlay2"])
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Root]:
    """A data root, its driver, and what the daemon showed.

    It has images of BuildKit's, one that was committed and one that the daemon's
    own builder made on these, a container, and layers on second copies of others.
    """
    driver, directory = request.param, tmp_path_factory.mktemp("buildkit")
    root, context = directory / "docker" / "root", directory / "context"
    root.mkdir(parents=True)
    _fill(context)
    with Daemon(root, driver) as daemon:

        def build(tag: str, *lines: str, env: dict[str, str] = BUILDKIT) -> None:
            (context / "Dockerfile").write_text("\n".join(lines))
            options = ("--network", "none", "--tag", tag)
            daemon.run("build", *options, context, env=env)

        build("copied:1", *BEGIN)
        # The same layers again, which the layerdb has got; the last one lies on the copies.
        daemon.docker("builder", "prune", "--all", "--force")
        build("copied:2", *BEGIN, "COPY file /third")
        build("run:1", *BEGIN, "COPY bin /bin", *(f"RUN {change}" for change in CHANGES))
        shell = ("--network", "none", "run:1", "sh", "-c")
        daemon.docker("run", "--name", "changed", *shell, "echo 4 >/d/e; rm -rf /again")
        daemon.docker("commit", "changed", "committed:1")
        build("classic:1", "FROM committed:1", "RUN rm -rf /d", "RUN mkdir /d", env={})
        shown = described(daemon, directory)
    daemon.remove()
    yield root, driver, shown
    shutil.rmtree(root)


def _fill(context: Path) -> None:
    programs = context / "bin"
    programs.mkdir(parents=True)
    shutil.copy(BUSYBOX, programs)
    for name in PROGRAMS:
        (programs / name).symlink_to(BUSYBOX.name)
    (context / "file").write_text("file\n")
    # The same layer at any time.
    os.utime(context / "file", (1_300_000_000, 1_300_000_000))


def test_migrator_and_docker_agree(built: Root, tmp_path: Path) -> None:
    check(*built, tmp_path, deep=True)


def _on_another(root: Path, holds: str) -> Path:
    """The directory of a layer in whose driver's directory there is `holds`."""
    (driver,) = (path.name for path in (root / "image").iterdir())
    layers = (root / "image" / driver / "layerdb/sha256").iterdir()
    found = (root / driver / (layer / "cache-id").read_text() for layer in layers)
    return next(path for path in sorted(found) if (path / holds).exists())


def _lose_lower(root: Path) -> str:
    (directory := _on_another(root, "upper/d/e")).joinpath("lower-id").unlink()
    return f"overlay/{directory.name}/lower-id: is missing"


def _lead_outside(root: Path) -> str:
    (directory := _on_another(root, "upper/d/e")).joinpath("lower-id").write_text("../image")
    return f"overlay/{directory.name}/lower-id: names '../image'"


def _change_file(root: Path) -> str:
    file = _on_another(root, "upper/third") / "upper/third"
    file.write_text("another")
    return str(file.relative_to(root))


@pytest.mark.parametrize("built", ["overlay"], indirect=True)
@pytest.mark.parametrize("damage", [_lose_lower, _lead_outside, _change_file])
def test_damage_is_found_and_left_out(
    damage: Callable[[Path], str], built: Root, tmp_path: Path
) -> None:
    root, _, _ = built
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True, copy_function=_copied)
    expected = damage(copy)
    assert expected in " ".join(verify(copy).lines())
    run = migrator("migrate", "-g", copy, "--target-driver", "overlay2")
    assert run.returncode == 3, run.stderr
    # What is left out is no fault of what is there.
    assert migrator("verify", "-g", copy, "-s", "overlay2", "--deep").returncode == 0


def _copied(source: str, target: str) -> None:
    """Copies a file, of whatever kind, and so that a change is none of the source."""
    status = os.lstat(source)
    if stat.S_ISREG(status.st_mode):
        shutil.copy2(source, target)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)


@pytest.mark.parametrize("built", ["overlay2"], indirect=True)
def test_a_second_copy_has_to_be_one(built: Root) -> None:
    root, _, _ = built
    held = {path.read_text() for path in root.glob("image/overlay2/layerdb/sha256/*/cache-id")}
    copies = (path for path in root.glob("overlay2/*/diff/again") if path.parts[-3] not in held)
    (changed,) = (path for path in copies if path.is_file())
    changed.write_text("filE\n")
    try:
        (finding,) = verify(root).findings
        assert changed.parts[-3] in finding.path
    finally:
        changed.write_text("file\n")
        os.utime(changed, (1_300_000_000, 1_300_000_000))
