"""Recomputed diffs against what Docker 1.10.3 made of the same stores, and what must not happen."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import LayerError, StoreError
from migrator.layer import digest
from migrator.layer.recompute import fingerprint_recomputed, recompute
from migrator.system import disk
from migrator.tree.changes import DiffSource, compare, tree
from tests.conftest import STORES
from tests.unit.layer.tarsink import write_tar

WITHOUT_RECORDS = [
    "docker-1.7.1-overlay",
    "docker-1.7.1-aufs",
    "docker-1.7.1-vfs-trees",
    "docker-1.7.1-aufs-trees",
]
LAYER_DIRECTORY = {"overlay": "overlay/{}/root", "aufs": "aufs/diff/{}", "vfs": "vfs/dir/{}"}

Store = Callable[[str], Path]


def golden_layers(name: str) -> dict[str, dict[str, str]]:
    layers: dict[str, dict[str, str]] = json.loads((STORES / f"{name}.golden.json").read_text())[
        "layers"
    ]
    return layers


def source_of(store: Path, driver: str, v1_id: str) -> DiffSource:
    directory = LAYER_DIRECTORY[driver]
    root = store / directory.format(v1_id)
    parent = json.loads((store / "graph" / v1_id / "json").read_bytes()).get("parent")
    if driver == "aufs":
        return DiffSource("branch", root)
    if not parent:
        return DiffSource("tree", root)
    return DiffSource("compare", root, store / directory.format(parent))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        pytest.param(name, layer, id=f"{name}-{layer['cache-id'][:12]}")
        for name in WITHOUT_RECORDS
        for layer in golden_layers(name).values()
    ],
)
def test_as_docker_did(name: str, layer: dict[str, str], store: Store, tmp_path: Path) -> None:
    source = source_of(store(name), name.split("-")[2], layer["cache-id"])
    record = tmp_path / "record"
    digest = recompute(source, record)
    lines = gzip.decompress(record.read_bytes())
    assert digest.diff_id == layer["diff"]
    assert str(digest.size) == layer["size"]
    assert hashlib.sha256(lines).hexdigest() == layer["tar-split.sha256"]
    tar = rebuilt(lines, source.root)
    assert "sha256:" + hashlib.sha256(tar).hexdigest() == layer["diff"]
    assert len(tar) == digest.tar_bytes


def rebuilt(lines: bytes, root: Path) -> bytes:
    """The tar that a record and a layer's files make."""
    tar = []
    for position, line in enumerate(lines.splitlines()):
        entry = json.loads(line)
        assert entry["position"] == position
        payload = base64.b64decode(entry["payload"] or "")
        if entry["type"] == 2:
            tar.append(payload)
        elif entry.get("size"):
            content = Path(os.fsdecode(os.fsencode(root) + b"/" + name_of(entry))).read_bytes()
            assert crc64(content).to_bytes(8, "big") == payload
            tar.append(content)
    return b"".join(tar)


def name_of(entry: dict[str, Any]) -> bytes:
    if "name_raw" in entry:
        return base64.b64decode(entry["name_raw"])
    name: str = entry["name"]
    return name.encode()


def crc64(data: bytes) -> int:
    crc = 2**64 - 1
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 2**64 - 1


def crc_table_entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xD800000000000000 if value & 1 else 0)
    return value


CRC_TABLE = [crc_table_entry(value) for value in range(256)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


def test_an_empty_layer(root: Path, record: Path) -> None:
    digest = recompute(DiffSource("tree", root), record)
    assert digest.diff_id == "sha256:" + hashlib.sha256(bytes(1024)).hexdigest()
    assert (digest.size, digest.tar_bytes, digest.files, digest.entries) == (0, 1024, 0, 0)
    zeros = base64.b64encode(bytes(1024)).decode()
    assert gzip.decompress(record.read_bytes()).decode() == (
        f'{{"type":2,"payload":"{zeros}","position":0}}\n{{"type":2,"payload":"","position":1}}\n'
    )


def test_counts_progress_and_large_files(root: Path, record: Path) -> None:
    content = os.urandom(3 << 20) + b"end"
    (root / "d").mkdir()
    (root / "d" / "large").write_bytes(content)
    (root / "empty").touch()
    (root / "sparse").touch()
    os.truncate(root / "sparse", 1 << 20)
    os.link(root / "d" / "large", root / "link")
    reports: list[int] = []
    digest = recompute(DiffSource("tree", root), record, reports.append)
    assert (digest.size, digest.files, digest.entries) == (len(content) + (1 << 20), 2, 5)
    assert sum(reports) == digest.tar_bytes
    lines = gzip.decompress(record.read_bytes()).splitlines()
    entries = [entry for entry in map(json.loads, lines) if entry["type"] == 1]
    assert [entry["name"] for entry in entries] == ["d/", "d/large", "empty", "link", "sparse"]
    write_tar(root, tree(root), root.parent / "tar")
    tar = (root.parent / "tar").read_bytes()
    assert "sha256:" + hashlib.sha256(tar).hexdigest() == digest.diff_id


@pytest.mark.parametrize(
    ("name", "member"),
    [
        (b'"\\\t\n\r\x01\x7f', '"name":"\\"\\\\\\t\\n\\r\\u0001\x7f"'),
        (b"<&>", '"name":"\\u003c\\u0026\\u003e"'),
        ("é\u2028\u2029😀".encode(), '"name":"é\\u2028\\u2029😀"'),
        (b"caf\xe9", '"name_raw":"Y2Fm6Q=="'),
        (b"\xed\xa0\x80", '"name_raw":"7aCA"'),
    ],
)
def test_names_as_go_encodes_them(name: bytes, member: str, root: Path, record: Path) -> None:
    (root / os.fsdecode(name)).touch()
    recompute(DiffSource("tree", root), record)
    line = gzip.decompress(record.read_bytes()).split(b"\n")[1].decode()
    assert line == '{"type":1,' + member + ',"payload":null,"position":1}'


def test_paths_beyond_path_max(root: Path, record: Path) -> None:
    fd = os.open(root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("n" * 255, dir_fd=fd)
        fd, above = os.open("n" * 255, os.O_RDONLY, dir_fd=fd), fd
        os.close(above)
    file = os.open("f", os.O_CREAT | os.O_RDWR, dir_fd=fd)
    os.write(file, b"content")
    os.symlink("target", "link", dir_fd=fd)
    os.close(file)
    os.close(fd)
    digest = recompute(DiffSource("tree", root), record)
    assert (digest.size, digest.files, digest.entries) == (7, 1, 22)


@pytest.mark.root
def test_two_runs_give_the_same_bytes(store: Store, tmp_path: Path) -> None:
    name = "docker-1.7.1-vfs-trees"
    v1_id = max(golden_layers(name).values(), key=lambda layer: int(layer["size"]))["cache-id"]
    source = pickle.loads(pickle.dumps(source_of(store(name), "vfs", v1_id)))
    runs = [recompute(source, tmp_path / run) for run in ("one", "two")]
    assert runs[0] == pickle.loads(pickle.dumps(runs[1]))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_fingerprint_tells_when_to_compute_again(root: Path, tmp_path: Path) -> None:
    (root / "f").write_bytes(b"x" * 1000)
    (root / "empty").touch()
    source = DiffSource("tree", root)
    record = tmp_path / "record"
    known = recompute(source, record).fingerprint
    written = record.read_bytes()
    assert fingerprint_recomputed(source, record) == known

    seen = {known}
    for alter in (rewrite_same_size, lambda path: path.chmod(0o600), Path.unlink):
        alter(root / "f")
        seen.add(fingerprint_recomputed(source, record))
    record.write_bytes(written[:-1])
    seen.add(fingerprint_recomputed(source, record))
    assert len(seen) == 5
    record.unlink()
    with pytest.raises(StoreError):
        fingerprint_recomputed(source, record)


def rewrite_same_size(path: Path) -> None:
    path.write_bytes(b"y" * 1000)
    os.utime(path, ns=(0, 0))


def replace(path: Path) -> None:
    status = path.stat()
    path.unlink()
    path.parent.joinpath("keeps the inode busy").touch()
    path.write_bytes(b"x" * 1000)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def become_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "alter",
    [
        lambda path: os.truncate(path, 10),
        lambda path: os.truncate(path, 2000),
        rewrite_same_size,
    ],
    ids=["shrunk", "grown", "rewritten"],
)
def test_a_file_altered_while_read(
    alter: Callable[[Path], None], root: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "d").mkdir()
    file = root / "d" / "f"
    file.write_bytes(b"x" * 1000)
    read = digest.TarHash.read

    def altering_read(self: digest.TarHash, fd: int, size: int) -> tuple[int, int]:
        alter(file)
        return read(self, fd, size)

    monkeypatch.setattr(digest.TarHash, "read", altering_read)
    with pytest.raises(LayerError, match="changed while") as raised:
        recompute(DiffSource("tree", root), record)
    assert raised.value.subject == "d/f"
    assert not record.exists()


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (Path.unlink, "No such file"),
        (replace, "changed while"),
        (become_a_fifo, "changed while"),
        (become_a_link, "symbolic link"),
    ],
    ids=["vanished", "replaced", "now a fifo", "now a link"],
)
def test_a_file_altered_between_looking_and_opening(
    alter: Callable[[Path], object],
    message: str,
    root: Path,
    record: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = root / "f"
    file.write_bytes(b"x" * 1000)
    look = os.stat

    def look_then_alter(path: Any, **options: Any) -> os.stat_result:
        status = look(path, **options)
        if path == b"f":
            alter(file)
        return status

    monkeypatch.setattr(os, "stat", look_then_alter)
    with pytest.raises(LayerError, match=message) as raised:
        recompute(DiffSource("tree", root), record)
    assert raised.value.subject == "f"
    assert not record.exists()


def test_a_file_gone_before_its_turn(root: Path, tmp_path: Path) -> None:
    (root / "f").write_text("x")
    (tmp_path / "old").mkdir()
    changes = compare(root, tmp_path / "old")
    (root / "f").unlink()
    with pytest.raises(LayerError, match="No such file") as raised:
        write_tar(root, changes, tmp_path / "tar")
    assert raised.value.subject == "f"


def test_a_whiteout_needs_its_name(root: Path, record: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "f").touch()
    (root / ".wh.f").touch()
    with pytest.raises(LayerError, match="whiteout") as raised:
        recompute(DiffSource("compare", root, tmp_path / "old"), record)
    assert raised.value.subject == ".wh.f"
    assert not record.exists()


def test_a_layer_that_is_not_there(root: Path, record: Path) -> None:
    with pytest.raises(LayerError, match="No such file"):
        recompute(DiffSource("tree", root / "missing"), record)
    assert not record.exists()


def test_a_record_that_cannot_be_written(
    root: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="No such file") as raised:
        recompute(DiffSource("tree", root), record / "below")
    assert raised.value.subject == str(record / "below")

    def full(operation: str, path: Path) -> None:
        if operation == "write record":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "hook", full)
    with pytest.raises(StoreError, match="disk is full"):
        recompute(DiffSource("tree", root), record)
    assert not record.exists()
