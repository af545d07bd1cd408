"""Our own state directory, in a data root that somebody made to do harm with it."""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from blake3 import blake3

from migrator.state.journal import Journal
from migrator.state.manifest import Entry, Manifest, Tree
from tests.command import snapshot
from tests.stores.hostile import CONTAINER, build, run, v1_id

STATE = ".migrator"

# All that there is, the ones that change least first.
COMMANDS: dict[str, tuple[str, ...]] = {
    "plan": ("plan",),
    "plan-overlay2": ("plan", "--target-driver", "overlay2"),
    "status": ("status",),
    "verify": ("verify", "--quick"),
    "export": ("export", "-o", "-", "--format", "docker-archive"),
    "checksums": ("checksums",),
    "migrate": ("migrate",),
    "migrate-overlay2": ("migrate", "--target-driver", "overlay2"),
    "rollback": ("rollback",),
    "rollback-force": ("rollback", "--force"),
    "undo": ("checksums", "--undo"),
}

FILES = ("phase", "manifest.json", "journal.db", "journal.db-journal", "journal.db-wal")
FILES_OF_OVERLAY2 = ("built.jsonl", "left_out.json")
DIRECTORIES = ("stage", "saved", "records", "trees")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What no run may touch."""
    tree = tmp_path / "outside"
    (tree / "directory" / "overlay2" / "below").mkdir(parents=True)
    (tree / "directory" / "file").write_bytes(b"precious")
    (tree / "file").write_bytes(b"precious")
    return tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small store whose migration has hashed a layer and then ended."""
    return with_state(build(tmp_path / "root", 2), STATE)


def with_state(root: Path, name: str, phase: str = "preparing") -> Path:
    state = root / name
    state.mkdir(mode=0o700)
    (state / "phase").write_text(phase)
    for directory in DIRECTORIES:
        (state / directory).mkdir()
    return root


def to_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "file")


def to_directory_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "directory")


def to_lost_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "new")


def to_endless(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")


def to_fifo(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def to_device(path: Path, outside: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


def to_directory(path: Path, outside: Path) -> None:
    path.mkdir()


def to_huge(path: Path, outside: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def to_file(path: Path, outside: Path) -> None:
    path.write_bytes(b"x")


def to_foreign(path: Path, outside: Path) -> None:
    path.mkdir() if path.name in DIRECTORIES else path.write_bytes(b"preparing")
    os.chown(path, 4711, 4711)


Kind = Callable[[Path, Path], None]

TABLE: list[tuple[str, Kind]] = [
    *((name, kind) for name in FILES for kind in (to_fifo, to_endless, to_lost_link, to_huge)),
    *(("phase", kind) for kind in (to_link, to_device, to_directory, to_foreign)),
    *((name, kind) for name in ("manifest.json", "journal.db") for kind in (to_link, to_foreign)),
    *((name, kind) for name in FILES_OF_OVERLAY2 for kind in (to_link, to_fifo, to_huge)),
    *((name, kind) for name in DIRECTORIES for kind in (to_directory_link, to_lost_link)),
    *(("stage", kind) for kind in (to_fifo, to_file, to_foreign)),
]


def spoil(path: Path, kind: Kind, outside: Path) -> None:
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    kind(path, outside)


def run_all(root: Path, outside: Path, *names: str) -> dict[str, str]:
    """Run commands, and hold what lies outside against what it was."""
    before = snapshot(outside)
    said = {}
    for name in names or COMMANDS:
        command, *more = COMMANDS[name]
        done = run(command, "-g", root, *more)
        assert snapshot(outside) == before, (name, done)
        said[name] = f"{done.returncode} {done.stderr}{done.stdout}"
    return said


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


def codes(command: str) -> str:
    """What a command may end with: the container has no files that could be carried over."""
    return "3" if command == "migrate-overlay2" else "0"


def hashed(root: Path, outside: Path) -> Path:
    """Have a layer hashed that has no record, so that one was made."""
    (root / "graph" / v1_id(1) / "tar-data.json.gz").unlink()
    assert run_all(root, outside, "checksums")["checksums"].startswith("0 ")
    (record,) = (root / STATE / "records").iterdir()
    return record


@pytest.mark.parametrize("kind", [to_link, to_endless, to_lost_link, to_fifo, to_device, to_huge])
@pytest.mark.parametrize("command", ["migrate", "migrate-overlay2", "checksums", "rollback"])
def test_a_record_that_is_none(command: str, kind: Kind, root: Path, outside: Path) -> None:
    spoil(hashed(root, outside), kind, outside)
    assert run_all(root, outside, command)[command][0] in codes(command)
    for path in root.rglob("tar-split.json.gz"):
        assert stat.S_ISREG(path.lstat().st_mode)


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


def hot_journal(database: Path, victim: Path) -> bytes:
    """A rollback journal of SQLite's that names another database's (sqlite.org/fileformat2)."""
    page = database.read_bytes()[:4096]
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">IIIII", 1, 0, database.stat().st_size // 4096, 512, 4096)
    checksum = sum(page[4096 - 200 : 0 : -200])
    record = struct.pack(">I", 1) + page + struct.pack(">I", checksum)
    name = os.fsencode(victim)
    end = struct.pack(">I", (1 << 30) // 4096 + 1) + name + struct.pack(">II", len(name), sum(name))
    return header.ljust(512, b"\0") + record + end + magic


@pytest.mark.parametrize("command", ["migrate", "migrate-overlay2", "checksums", "rollback"])
def test_a_journal_whose_journal_has_another_file_removed(
    command: str, root: Path, outside: Path
) -> None:
    journal = root / STATE / "journal.db"
    with Journal(journal):
        pass
    log = hot_journal(journal, outside / "file")
    (root / STATE / "journal.db-journal").write_bytes(log)
    assert run_all(root, outside, command)[command][0] in codes(command)


FORGED = {
    "diff_id": ["../../../../../outside/new", "sha256:../../../../../../outside/new", None, 1],
    "v1_id": [None, 7],
    "size": ["many", -1, None, 0.5],
    "tar_bytes": ["many", None],
    "fingerprint": [None, b"x"],
    "method": ["", "magic", None, b"\xff"],
    "fault": [7, "\x1b[31m"],
    "seconds": ["long", None, float("inf")],
}


@pytest.mark.parametrize("column", FORGED)
def test_a_journal_that_says_anything(column: str, root: Path, outside: Path) -> None:
    assert run_all(root, outside, "checksums")["checksums"].startswith("0 ")
    for value in FORGED[column]:
        forge(root / STATE / "journal.db", column, value)
        assert run_all(root, outside, "migrate")["migrate"].startswith("0 "), value
        (root / STATE / "phase").write_text("published")
        assert run_all(root, outside, "rollback")["rollback"].startswith("0 ")
        assert run_all(root, outside, "checksums")["checksums"].startswith("0 ")


def forge(journal: Path, column: str, value: object) -> None:
    """Change a value in every row, and seal the rows again."""
    with closing(sqlite3.connect(journal)) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) | {column: value} for row in database.execute("SELECT * FROM layer")]
        assert rows
        database.execute("DELETE FROM layer")
        for number, row in enumerate(rows):
            if row["v1_id"] is not None and column == "v1_id":
                row["v1_id"] = number
            *values, _ = row.values()
            seal = blake3(repr(tuple(values)).encode()).hexdigest()
            marks = ", ".join("?" * len(row))
            try:
                database.execute(f"INSERT INTO layer VALUES ({marks})", (*values, seal))
            except sqlite3.IntegrityError:
                continue
        database.commit()


def test_a_journal_whose_schema_is_endless(root: Path, outside: Path) -> None:
    with closing(sqlite3.connect(root / STATE / "journal.db")) as database:
        database.execute("PRAGMA user_version = 1")
        long = " " * 900_000
        for number in range(300):
            database.execute(f"CREATE TABLE t{number} (x{long})")
        database.commit()
    assert run_all(root, outside, "migrate")["migrate"].startswith("0 ")


def test_names_left_out_that_say_anything(root: Path, outside: Path) -> None:
    state = published(root, outside)
    said = '[{"about":"tag","name":"\\u001b[31m","reason":"\\u202e\\n%s","hint":"\\u0007"}]'
    (state / "left_out.json").write_text(said % ("x" * 10**6))
    run_all(root, outside, "plan", "status", "migrate", "rollback")


@pytest.mark.parametrize("kind", [to_link, to_directory_link, to_lost_link, to_fifo, to_directory])
@pytest.mark.parametrize(
    "name",
    [
        ".migration-diffid",
        ".migration-diffid.new",
        ".migration-size",
        ".migration-size.new",
        ".migration-tardata",
    ],
)
def test_helper_files_that_are_links(name: str, kind: Kind, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root")
    path = root / "graph" / v1_id(0) / name
    kind(path, outside)
    said = run_all(root, outside, "undo")
    assert said["undo"].startswith("0 ")
    assert path.is_dir() is (kind is to_directory)
    if kind is not to_directory:
        kind(path, outside)
    said = run_all(root, outside, "checksums", "undo")
    assert said["checksums"][0] == ("1" if kind is to_directory else "0"), said


@pytest.mark.parametrize("place", ["graph", f"graph/{v1_id(0)}"])
def test_images_that_lie_elsewhere(place: str, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root", 2)
    for image in (root / "graph").iterdir():
        for name in (".migration-diffid", ".migration-size", ".migration-tardata"):
            (image / name).write_bytes(b"another's")
    (root / place).rename(outside / "graph")
    (root / place).symlink_to(outside / "graph")
    run_all(root, outside, "undo", "checksums", "migrate", "undo")


@pytest.mark.parametrize("kind", [to_link, to_endless, to_lost_link, to_fifo, to_directory])
@pytest.mark.parametrize(
    "place",
    [
        ".migration-v1-images.json",
        "image/overlay/repositories.json",
        "image/overlay/imagedb/content/sha256",
        "image/overlay/layerdb/sha256",
        "image/overlay/layerdb/mounts",
        f"containers/{CONTAINER}/hostconfig.json",
        "image/overlay2",
        "overlay2",
        "overlay2/l",
    ],
)
def test_places_in_the_new_store(place: str, kind: Kind, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root", 2)
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).unlink(missing_ok=True)
    kind(root / place, outside)
    run_all(root, outside, "plan", "migrate", "migrate-overlay2", "status", "rollback", "rollback")
