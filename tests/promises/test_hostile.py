"""Stores made to do harm: nothing outside is touched, and nothing hangs, grows or crashes."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.command import snapshot
from tests.stores.hostile import CONTAINER, add_image, build, file_line, pack, run, v1_id

SECRET = b"the secret that lies outside"

# What may be spoiled without loss to other images, each in an image of its own.
IN_IMAGES = (
    "graph/{}",
    "graph/{}/json",
    "graph/{}/layersize",
    "graph/{}/checksum",
    "graph/{}/parent",
    "graph/{}/tar-data.json.gz",
    "overlay/{}",
    "overlay/{}/root",
    "overlay/{}/root/f",
)
LOST = {"graph/{}", "graph/{}/json", "graph/{}/parent", "overlay/{}", "overlay/{}/root"}

# Without these nothing, or nothing of its kind, can be migrated.
ALONE = (
    "graph",
    "overlay",
    "containers",
    f"containers/{CONTAINER}",
    f"containers/{CONTAINER}/config.json",
    f"containers/{CONTAINER}/hostconfig.json",
    "linkgraph.db",
    "linkgraph.db-journal",
    "linkgraph.db-wal",
    "repositories-overlay",
    ".migration-v1-images.json",
    "image",
    "image/overlay",
    "image/overlay/layerdb",
    "image/overlay/imagedb",
    "network",
    "containerd/daemon/x",
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A tree that no run may touch, and whose content no run may take over."""
    tree = tmp_path / "outside"
    tree.mkdir()
    (tree / "f").write_bytes(SECRET)
    return tree


def to_link(path: Path, outside: Path) -> None:
    """What was there lies outside now."""
    target = outside / path.name
    if path.exists():
        path.rename(target)
    else:
        target.write_bytes(SECRET)
    path.symlink_to(target)


def to_fifo(path: Path, outside: Path) -> None:
    path.rename(outside / path.name) if path.exists() else None
    os.mkfifo(path)


def to_device(path: Path, outside: Path) -> None:
    path.rename(outside / path.name) if path.exists() else None
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


def to_long_link(path: Path, outside: Path) -> None:
    path.rename(outside / path.name) if path.exists() else None
    path.symlink_to("x" * 300)


KINDS = [to_link, to_fifo, to_device, to_long_link]
Kind = Callable[[Path, Path], None]


def spoil(root: Path, place: str, kind: Kind, outside: Path) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    kind(path, outside)


def all_commands(root: Path, outside: Path) -> str:
    """Run what reads and writes everything; returns what `migrate` said."""
    before = snapshot(outside)
    run("checksums", "-g", root, "-q")
    report = outside.with_name("report.json")
    done = run("migrate", "-g", root, "--progress", "plain", "--report", report, "-v")
    assert snapshot(outside) == before
    for directory in ("image", ".migrator", "graph", "containers"):
        assert SECRET not in everything_in(root / directory)
    return done.stdout + done.stderr


def everything_in(directory: Path) -> bytes:
    """The content of all files below a directory that is none of the links."""
    if directory.is_symlink():
        return b""
    files = (path for path in directory.rglob("*") if stat.S_ISREG(path.lstat().st_mode))
    return b"".join(path.read_bytes() for path in files)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_parts_of_images_that_are_no_files(kind: Kind, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root", len(IN_IMAGES) + 1)
    for number, place in enumerate(IN_IMAGES, 1):
        away = outside / str(number)
        away.mkdir()
        spoil(root, place.format(v1_id(number)), kind, away)

    said = all_commands(root, outside)

    migrated = json.loads((root / ".migration-v1-images.json").read_text())
    lost = {v1_id(number) for number, place in enumerate(IN_IMAGES, 1) if place in LOST}
    assert migrated.keys() == {v1_id(number) for number in range(len(IN_IMAGES) + 1)} - lost
    assert all(image in said for image in lost)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", ALONE)
def test_parts_of_the_root_that_are_no_files(
    place: str, kind: Kind, tmp_path: Path, outside: Path
) -> None:
    root = build(tmp_path / "root")
    spoil(root, place, kind, outside)
    all_commands(root, outside)


def test_records_that_name_what_lies_outside(tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root")
    names = [
        "../../../outside/f",
        "../../../../../../../../../.." + str(outside / "f"),
        str(outside / "f"),
        "out/f",
        "file",
        "up/outside/f",
        "proc/self/root" + str(outside / "f"),
    ]
    for number, name in enumerate(names, 1):
        add_image(root, number, [file_line(name, SECRET)])
        layer = root / "overlay" / v1_id(number) / "root"
        (layer / "out").symlink_to(outside)
        (layer / "file").symlink_to(outside / "f")
        (layer / "up").symlink_to("../" * 20 + str(tmp_path))
        (layer / "proc").symlink_to("/proc")
    before = snapshot(outside)

    run("migrate", "-g", root, "--progress", "none", "--report", tmp_path / "report")

    assert snapshot(outside) == before
    layers = json.loads((tmp_path / "report").read_text())["layers"]
    methods = {layer["v1_id"]: layer["method"] for layer in layers}
    assert methods.pop(v1_id(0)) == "tar-split record"
    assert methods == {v1_id(number): "recomputed" for number in range(1, len(names) + 1)}


@pytest.mark.parametrize(
    "name",
    ["sha256", "..a", "-g", "a\x1b[31mb", "\u202eb", os.fsdecode(b"\xff"), "x" * 245, "x" * 255],
)
def test_containers_with_odd_names(name: str, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root")
    (root / "containers" / CONTAINER).rename(root / "containers" / name)
    all_commands(root, outside)
    assert (root / ".migration-v1-images.json").exists()
    published = (root / "containers" / name / "config.v2.json").exists()
    assert published is name.isprintable()


def test_control_characters_everywhere(tmp_path: Path, outside: Path) -> None:
    evil = "\x1b]0;evil\x07\x9b31m\u202e\u2066\r\n\x7f\0"
    root = build(tmp_path / "root")
    odd = os.fsdecode(b"\x1b[31m\x9b\n\xff")
    add_image(root, 1, [file_line(evil, b"x")], parent_id=evil)
    add_image(root, 2, [file_line(evil, b"x")])
    (root / "overlay" / v1_id(2) / "root" / odd).mkdir()
    add_image(root, 3, [{"type": 2, "payload": evil}], parent=evil)
    add_image(root, 4, docker_version=evil, comment=evil, created=evil)
    (root / "graph" / odd).mkdir()
    tags = {evil: {evil: v1_id(0), "tag": evil}, "name": {evil: evil}, "ok": {"ok": evil}}
    (root / "repositories-overlay").write_text(json.dumps({"Repositories": tags}))
    for number, values in enumerate(
        [{"Name": evil}, {"Image": evil, "Name": evil}, {"Driver": evil}, {"Image": v1_id(4)}]
    ):
        container = root / "containers" / v1_id(number)
        container.mkdir()
        config = {"Image": v1_id(0), "Driver": "overlay"} | values
        (container / "config.json").write_text(json.dumps(config))
        (container / "hostconfig.json").write_text("{}")
    with closing(sqlite3.connect(root / "linkgraph.db")) as database:
        database.execute("INSERT INTO edge VALUES (?, ?, ?)", (evil, CONTAINER, evil))
        database.execute("INSERT INTO edge VALUES (?, ?, ?)", (CONTAINER, CONTAINER, evil))
        database.commit()
    said = all_commands(root, outside)
    assert "evil" in said
    document = json.loads((tmp_path / "report.json").read_text())
    assert all(problem["reason"].isprintable() for problem in document["problems"])


def test_record_that_is_a_bomb(tmp_path: Path) -> None:
    root = build(tmp_path / "root", 3)
    bomb = gzip.compress(b'{"type":2,"payload":"' + b"A" * (40 << 20), 1)
    (root / "graph" / v1_id(1) / "tar-data.json.gz").write_bytes(bomb)
    lines = gzip.compress(b'{"type":1,"name":"f","payload":null}\n' * 2_000_000, 1)
    (root / "graph" / v1_id(2) / "tar-data.json.gz").write_bytes(lines)
    done = run("migrate", "-g", root, "--progress", "none", memory=512 << 20)
    assert done.stdout.count("its tar-split record was of no use") == 2


@pytest.mark.parametrize("filler", [b" ", b"[", b'"'])
def test_files_of_one_endless_line(filler: bytes, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root", 2)
    (tmp_path / "text").write_bytes(filler * ((80 << 20) // len(filler)))
    for place in (
        f"graph/{v1_id(1)}/json",
        f"graph/{v1_id(1)}/layersize",
        f"containers/{CONTAINER}/config.json",
        "repositories-overlay",
        "linkgraph.db",
    ):
        (root / place).unlink()
        os.link(tmp_path / "text", root / place)
    all_commands(root, outside)
    assert v1_id(0) in (root / ".migration-v1-images.json").read_text()


@pytest.mark.parametrize("nesting", [b"[", b'{"a":', b'{"Labels":[', b'{"type":1,"name":'])
def test_nesting(nesting: bytes, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root", 2)
    text = nesting * 100_000
    for place in (f"graph/{v1_id(1)}/json", f"containers/{CONTAINER}/config.json"):
        (root / place).write_bytes(b'{"Image":"%b","x":' % v1_id(0).encode() + text)
    (root / "repositories-overlay").write_bytes(b'{"Repositories":' + text)
    (root / "graph" / v1_id(0) / "tar-data.json.gz").write_bytes(gzip.compress(text))
    all_commands(root, outside)
    assert v1_id(0) in (root / ".migration-v1-images.json").read_text()


@pytest.mark.parametrize(
    ("large", "small"),
    [
        ('"Labels":{' + ",".join(f'"{n}":""' for n in range(100_000)) + "}", '"Labels":{}'),
        ('"Env":[' + ",".join(['""'] * 300_000) + "]", '"Env":[null]'),
    ],
    ids=["Labels", "Env"],
)
def test_a_large_value_whose_key_is_repeated(large: str, small: str, tmp_path: Path) -> None:
    root = build(tmp_path / "root", 2)
    again = ",".join([small] * 80_000)
    text = f'{{"docker_version":"1.0.0","config":{{{large},{again}}}}}'
    (root / "graph" / v1_id(1) / "json").write_text(text)
    run("migrate", "-g", root, "--progress", "none", memory=768 << 20)
    assert v1_id(1) in (root / ".migration-v1-images.json").read_text()


def test_one_large_json_linked_into_many_images(tmp_path: Path) -> None:
    root = build(tmp_path / "root")
    text = tmp_path / "text"
    text.write_bytes(b"{%b}" % (b" " * ((4 << 20) - 2)))
    for number in range(1, 300):
        graph = root / "graph" / v1_id(number)
        graph.mkdir()
        os.link(text, graph / "json")
        container = root / "containers" / v1_id(number)
        container.mkdir()
        os.link(text, container / "config.json")
    done = run("plan", "-g", root)
    assert "the images before it have" in done.stdout


def test_a_very_long_history(tmp_path: Path) -> None:
    root = build(tmp_path / "root")
    parent = v1_id(0)
    for number in range(1, 7):
        add_image(root, number, parent=parent, comment="x" * (3 << 20))
        parent = v1_id(number)
    done = run("migrate", "-g", root, "--progress", "none")
    assert "its config would have more than" in done.stdout
    assert v1_id(4) in (root / ".migration-v1-images.json").read_text()


def test_very_many_images_in_one_line(tmp_path: Path) -> None:
    """Were each to have a list of its ancestors, they would take more memory than there is."""
    root = build(tmp_path / "root")
    parent = v1_id(0)
    for number in range(1, 20_000):
        graph = f"{root}/graph/{number:064x}"
        os.mkdir(graph)  # noqa: PTH102 (a Path each would take as long as the test)
        with open(f"{graph}/json", "w") as file:
            file.write(json.dumps({"parent": parent}))
        parent = v1_id(number)
        if number < 300:
            (root / "overlay" / parent / "root").mkdir(parents=True)
    done = run("migrate", "-g", root, "--progress", "none", "-q")
    assert done.returncode == 3
    assert f"{v1_id(256)}: it has more than 256 layers" in done.stderr


@pytest.mark.parametrize("size", [2**63 - 1, 2**63, 2**64, 10**17, -1, 10**400])
def test_sizes_beyond_all_disks(size: int, tmp_path: Path, outside: Path) -> None:
    root = build(tmp_path / "root", 4)
    (root / "graph" / v1_id(1) / "layersize").write_text(str(size))
    record = pack(file_line("f", b"content", size=size))
    (root / "graph" / v1_id(2) / "tar-data.json.gz").write_bytes(record)
    (root / "graph" / v1_id(3) / "json").write_text(f'{{"Size":{size}}}')
    all_commands(root, outside)
    assert v1_id(2) in (root / ".migration-v1-images.json").read_text()


def test_a_database_that_computes_its_values(tmp_path: Path) -> None:
    root = build(tmp_path / "root")
    (root / "linkgraph.db").unlink()
    with closing(sqlite3.connect(root / "linkgraph.db")) as database:
        database.execute(
            "CREATE TABLE edge (entity_id text, parent_id text,"
            " name AS (substr(hex(zeroblob(400000)), 1, 9 + entity_id)))"
        )
        rows = [("1", CONTAINER)] * 1000
        database.executemany("INSERT INTO edge (entity_id, parent_id) VALUES (?, ?)", rows)
        database.commit()
    done = run("migrate", "-g", root, "--progress", "none")
    assert "links between containers are lost" in done.stdout


def test_a_database_of_rows_that_default_to_long_values(tmp_path: Path) -> None:
    root = build(tmp_path / "root")
    with closing(sqlite3.connect(root / "linkgraph.db")) as database:
        rows = ((str(number), CONTAINER) for number in range(500_000))
        database.execute("CREATE TABLE more (entity_id text, parent_id text)")
        database.executemany("INSERT INTO more VALUES (?, ?)", rows)
        long = "x" * 10_000
        database.execute(f"ALTER TABLE more ADD COLUMN name text DEFAULT '{long}'")
        database.execute("DROP TABLE edge")
        database.execute("ALTER TABLE more RENAME TO edge")
        database.commit()
    assert (root / "linkgraph.db").stat().st_size > 1 << 20
    done = run("migrate", "-g", root, "--progress", "none")
    assert "links between containers are lost" in done.stdout
