"""Our own state directory, in a data root that somebody made to do harm with it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from migrator.state.manifest import Entry, Manifest, Tree
from tests.command import snapshot
from tests.stores.hostile import CONTAINER, build, v1_id
from tests.stores.spoiled import (
    DIRECTORIES,
    STATE,
    Kind,
    begun_in,
    outside_of,
    run_all,
    spoil,
    to_device,
    to_directory,
    to_directory_link,
    to_endless,
    to_fifo,
    to_file,
    to_foreign,
    to_huge,
    to_link,
    to_lost_link,
    with_state,
)

FILES = ("phase", "manifest.json", "journal.db", "journal.db-journal", "journal.db-wal")
FILES_OF_OVERLAY2 = ("built.jsonl", "left_out.json")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return outside_of(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return begun_in(tmp_path)


TABLE: list[tuple[str, Kind]] = [
    *((name, kind) for name in FILES for kind in (to_fifo, to_endless, to_lost_link, to_huge)),
    *(("phase", kind) for kind in (to_link, to_device, to_directory, to_foreign)),
    *((name, kind) for name in ("manifest.json", "journal.db") for kind in (to_link, to_foreign)),
    *((name, kind) for name in FILES_OF_OVERLAY2 for kind in (to_link, to_fifo, to_huge)),
    *((name, kind) for name in DIRECTORIES for kind in (to_directory_link, to_lost_link)),
    *(("stage", kind) for kind in (to_fifo, to_file, to_foreign)),
]


@pytest.mark.parametrize(
    ("name", "kind"), TABLE, ids=[f"{name} {kind.__name__}" for name, kind in TABLE]
)
def test_what_is_none_of_ours_is_named_by_every_command(
    name: str, kind: Kind, root: Path, outside: Path
) -> None:
    spoil(root / STATE / name, kind, outside)
    # What is huge takes too long to look at.
    left_out = (STATE,) if kind is to_huge else ()
    before = snapshot(root, without=left_out)
    for command, said in run_all(root, outside).items():
        assert said.startswith("1 "), (command, said)
        # There is nothing yet that it could verify.
        if command != "verify":
            assert f"{STATE}/{name}: " in said and "look at it" in said, (command, said)
    assert snapshot(root, without=left_out) == before
    assert os.path.lexists(root / STATE / name)


@pytest.mark.parametrize("kind", [to_directory_link, to_lost_link, to_fifo, to_file, to_foreign])
@pytest.mark.parametrize("name", [STATE, f"{STATE}-overlay2", f"{STATE}-2"])
def test_a_state_directory_that_is_none_of_ours(
    name: str, kind: Kind, tmp_path: Path, outside: Path
) -> None:
    root = build(tmp_path / "root")
    kind(root / name, outside)
    before = snapshot(root)
    for command, said in run_all(root, outside).items():
        assert said.startswith("1 "), (command, said)
        assert command == "verify" or f"{name}: " in said, (command, said)
    assert snapshot(root) == before


@pytest.mark.parametrize("name", [f"{STATE}-overlay2", f"{STATE}-2", f"{STATE}-3-overlay2"])
def test_a_file_in_another_state_directory(name: str, root: Path, outside: Path) -> None:
    with_state(root, name)
    spoil(root / name / "manifest.json", to_endless, outside)
    for command, said in run_all(root, outside).items():
        assert said.startswith("1 "), (command, said)
        assert command == "verify" or f"{name}/manifest.json: " in said, (command, said)


@pytest.mark.parametrize("phase", ["publishing", "published", "undoing", "x" * 60, "", "\x1b[31m"])
@pytest.mark.parametrize("document", [b"", b"{}", b"[" * 10**5], ids=["none", "empty", "deep"])
def test_a_manifest_that_is_none(phase: str, document: bytes, root: Path, outside: Path) -> None:
    (root / STATE / "phase").write_text(phase)
    (root / STATE / "manifest.json").write_bytes(document)
    # On top of a published one, whatever is left of it, another migration can be made.
    migrate = () if phase == "published" else ("migrate",)
    said = run_all(root, outside, "status", "verify", *migrate, "rollback", "rollback-force")
    assert all(text.startswith("1 ") for name, text in said.items() if name.startswith("rollback"))


@pytest.mark.parametrize("kind", [to_link, to_directory_link, to_lost_link, to_fifo, to_directory])
@pytest.mark.parametrize("name", ["phase.new", "manifest.json.new", "left_out.json.new"])
def test_what_is_in_the_way_of_a_new_file(name: str, kind: Kind, root: Path, outside: Path) -> None:
    kind(root / STATE / name, outside)
    said = run_all(root, outside, "migrate", "rollback")
    assert said["migrate"][0] == ("1" if kind is to_directory else "0")


@pytest.mark.parametrize("kind", [to_directory_link, to_lost_link, to_fifo])
@pytest.mark.parametrize(
    "place", ["overlay2", "overlay2/l", f"overlay2/{v1_id(0)}", "overlay2/other"]
)
def test_trees_that_lead_elsewhere(place: str, kind: Kind, tmp_path: Path, outside: Path) -> None:
    root = with_state(build(tmp_path / "root", 2), f"{STATE}-overlay2")
    path = root / f"{STATE}-overlay2" / "trees" / place
    path.parent.mkdir(exist_ok=True)
    kind(path, outside)
    said = run_all(root, outside, "migrate-overlay2", "verify", "rollback")
    assert said["migrate-overlay2"][0] in ("1" if place == "overlay2" else "03"), said
    assert not (root / "overlay2").exists()
    for published in root.glob("overlay2/*"):
        assert not published.is_symlink()


def published(root: Path, outside: Path) -> Path:
    """Migrate; returns the state directory. A host config was replaced, and is kept."""
    with closing(sqlite3.connect(root / "linkgraph.db")) as database:
        database.execute("INSERT INTO edge VALUES (?, ?, 'alias')", (CONTAINER, CONTAINER))
        database.commit()
    assert run_all(root, outside, "migrate")["migrate"].startswith("0 ")
    assert (root / STATE / "saved" / "containers" / CONTAINER / "hostconfig.json").exists()
    return root / STATE


@pytest.mark.parametrize("phase", ["published", "publishing", "undoing"])
@pytest.mark.parametrize("command", ["rollback", "rollback-force", "migrate"])
@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("saved/containers", to_directory_link),
        (f"saved/containers/{CONTAINER}", to_directory_link),
        (f"saved/containers/{CONTAINER}/hostconfig.json", to_link),
        (f"saved/containers/{CONTAINER}/hostconfig.json", to_fifo),
        (f"saved/containers/{CONTAINER}/hostconfig.json", to_directory_link),
    ],
)
def test_what_was_saved_leads_elsewhere(
    place: str, kind: Kind, command: str, phase: str, root: Path, outside: Path
) -> None:
    state = published(root, outside)
    (state / "phase").write_text(phase)
    (state / place).rename(outside / "moved")
    kind(state / place, outside)
    said = run_all(root, outside, command)[command]
    # All had been published: nothing is taken back then.
    if command != "migrate" or phase == "undoing":
        assert said.startswith("1 ") and place in said, said
    assert (root / "containers" / CONTAINER / "hostconfig.json").is_file()


@pytest.mark.parametrize("command", ["rollback", "rollback-force"])
@pytest.mark.parametrize(
    "place", ["image", "image/overlay", "containers", f"containers/{CONTAINER}"]
)
def test_what_was_published_leads_elsewhere(
    place: str, command: str, root: Path, outside: Path
) -> None:
    published(root, outside)
    (root / place).rename(outside / "moved")
    (root / place).symlink_to(outside / "moved")
    said = run_all(root, outside, command)[command]
    assert said.startswith("1 ") and f"{place}: is a symbolic link" in said


@pytest.mark.parametrize("command", ["rollback", "rollback-force", "status", "migrate"])
def test_a_manifest_of_endless_paths(command: str, root: Path, outside: Path) -> None:
    deep = "/".join(["a"] * 500_000)
    entries = [Entry(deep, "0" * 64, 0o600, 1, 1), Entry("a/" + "b" * 300, "0" * 64, 0o600, 1, 1)]
    manifest = Manifest("overlay", entries, [deep, "a"], ["graph"], {}, [Tree(deep, "1" * 64)])
    manifest.save(root / STATE / "manifest.json")
    (root / STATE / "phase").write_text("undoing")
    run_all(root, outside, command)


@pytest.mark.parametrize("name", ["stage", "saved", "records", "trees"])
def test_directories_nested_without_end(name: str, root: Path, outside: Path) -> None:
    at = os.open(root / STATE / name, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    assert run_all(root, outside, "rollback")["rollback"].startswith("0 ")
    assert not (root / STATE).exists()


def test_a_number_that_no_other_follows(root: Path, outside: Path) -> None:
    with_state(root, f"{STATE}-999999999", "published")
    said = run_all(root, outside, "plan", "migrate")
    assert all(text.startswith("1 ") and "999999999" in text for text in said.values())
    assert not (root / f"{STATE}-1000000000").exists()


def test_names_left_out_that_say_anything(root: Path, outside: Path) -> None:
    state = published(root, outside)
    said = '[{"about":"tag","name":"\\u001b[31m","reason":"\\u202e\\n%s","hint":"\\u0007"}]'
    (state / "left_out.json").write_text(said % ("x" * 10**6))
    run_all(root, outside, "plan", "status", "migrate", "rollback")
