"""Tar-split records, sound and otherwise, against the files that they speak of."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastcrc import crc64

from migrator.errors import LayerError, RecordError
from migrator.layer import tarsplit
from migrator.layer.digest import digest_record
from migrator.layer.tarsplit import Record

ENTRIES = 500_000


def raw(data: bytes) -> dict[str, Any]:
    return {"type": 2, "payload": base64.b64encode(data).decode()}


def entry(name: str, content: bytes = b"", **other: Any) -> dict[str, Any]:
    line: dict[str, Any] = {"type": 1, "name": name}
    if content:
        checksum = crc64.go_iso(content).to_bytes(8, "big")
        line |= {"size": len(content), "payload": base64.b64encode(checksum).decode()}
    return line | other


def write(path: Path, *lines: dict[str, Any]) -> Path:
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    path.write_bytes(gzip.compress(text))
    return path


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    root = tmp_path / "layer"
    (root / "bin").mkdir(parents=True)
    (root / "bin/sh").write_bytes(b"shell")
    (root / "big").write_bytes(bytes(range(256)) * 4096)
    return root


def test_digest_is_that_of_the_rebuilt_tar(layer: Path, tmp_path: Path) -> None:
    big = (layer / "big").read_bytes()
    record = write(
        tmp_path / "record",
        raw(b"HEADER"),
        entry("bin/"),
        entry("./bin/sh", b"shell"),
        raw(b"x" * 300_000),
        entry("big", big),
        raw(b""),
        {"type": 9, "payload": "", "other": [3]},
    )
    reported: list[int] = []
    digest = digest_record(record, layer, reported.append)
    tar = b"HEADER" + b"shell" + b"x" * 300_000 + big
    assert digest.diff_id == "sha256:" + hashlib.sha256(tar).hexdigest()
    assert (digest.size, digest.tar_bytes) == (5 + len(big), len(tar))
    assert (digest.files, digest.entries) == (2, 3)
    assert sum(reported) == len(tar)


def test_name_that_is_not_utf8(layer: Path, tmp_path: Path) -> None:
    (layer / os.fsdecode(b"caf\xe9")).write_bytes(b"latin")
    name = base64.b64encode(b"caf\xe9").decode()
    record = write(tmp_path / "record", entry("", b"latin", name_raw=name))
    assert digest_record(record, layer).files == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([entry("bin/sh", b"shelL")], "bin/sh"),
        ([entry("bin/sh", b"shells")], "bin/sh"),
        ([entry("bin/sh", b"she")], "bin/sh"),
        ([entry("bin/bash", b"shell")], "bin/bash"),
        ([entry("bin", b"shell")], "bin"),
        ([entry("bin/sh/x", b"shell")], "bin/sh/x"),
        ([entry("a\0b", b"shell")], "a\0b"),
        ([entry("bin/sh"), entry("./bin//sh")], "twice"),
        ([entry("bin/"), entry("bin")], "twice"),
        ([entry("x/../y"), entry("y")], "twice"),
        ([entry("x/"), entry("x//")], "twice"),
        ([entry("x"), entry("x/.")], "twice"),
        ([entry("."), entry("")], "twice"),
        ([entry("/"), entry("//")], "twice"),
        ([entry("y", name_raw="eA=="), entry("x")], "twice"),
        ([entry("bin/sh", b"shell", size=-5)], "size"),
        ([entry("bin/sh", b"shell", size=5.0)], "size"),
        ([entry("bin/sh", b"shell", size=2**63)], "bytes"),
        ([entry("bin/sh", b"shell", payload="AAAA")], "checksum"),
        ([entry("bin/sh", b"shell", payload=None)], "payload"),
        ([{"type": 2, "payload": "%%%%"}], "base64"),
        ([{"type": 1, "name": 5}], "name"),
        ([entry("bin/sh", b"shell", payload=3)], "payload"),
        ([entry("", b"shell", name_raw="%%%%")], "name_raw"),
        ([["type", 1]], "Expected `object`"),
    ],
)
def test_useless_record_says_why(layer: Path, tmp_path: Path, lines: list[Any], said: str) -> None:
    record = write(tmp_path / "record", raw(b"header"), *lines)
    with pytest.raises(RecordError) as caught:
        digest_record(record, layer)
    assert said in str(caught.value)


def test_damage_to_the_file_itself(layer: Path, tmp_path: Path) -> None:
    good = write(tmp_path / "record", raw(os.urandom(3000)), entry("bin/sh", b"shell")).read_bytes()
    bad = tmp_path / "bad"
    for damaged in (
        b"",
        good[:-1],
        good[:-8],
        good[: len(good) // 2],
        good[:1500] + bytes([good[1500] ^ 1]) + good[1501:],
        good + b"trailing",
        gzip.compress(b'{"type":2,"payload":""}\n{"type":2'),
        gzip.compress(b"\xff\xfe\n"),
        gzip.compress(b'{"type":1,"name":"\xff"}\n'),
        gzip.compress(b'{"type":1,"name":"a\nb"}\n'),
        gzip.compress(b'{"type":1,"other":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"),
        b"not gzip at all",
    ):
        bad.write_bytes(damaged)
        with pytest.raises(RecordError):
            digest_record(bad, layer)


def test_bomb_and_endless_line_are_refused_early(
    layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tarsplit, "_FREE_EXPANSION", 1 << 20)
    bomb = tmp_path / "bomb"
    bomb.write_bytes(gzip.compress(b'{"type":2,"payload":""}\n' * 200_000, 9))
    with pytest.raises(RecordError, match="far more"):
        digest_record(bomb, layer)
    bomb.write_bytes(gzip.compress(b'{"type":2,"payload":"' + bytes(20_000_000), 1))
    with pytest.raises(RecordError, match="longer than any"):
        digest_record(bomb, layer)


@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "missing"])
def test_record_that_is_no_file(kind: str, layer: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    if kind == "fifo":
        os.mkfifo(record)
    elif kind == "link":
        record.symlink_to(write(tmp_path / "real", raw(b"")))
    elif kind == "directory":
        record.mkdir()
    with pytest.raises(RecordError):
        digest_record(record, layer)


def test_layer_without_directory_is_no_fault_of_the_record(tmp_path: Path) -> None:
    record = write(tmp_path / "record", raw(b""))
    with pytest.raises(LayerError) as caught:
        digest_record(record, tmp_path / "nothing")
    assert not isinstance(caught.value, RecordError)


def test_repeated_name_among_very_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarsplit, "_BUCKET", 1 << 10)
    lines = [entry(f"d{number % 500}/f{number}") for number in range(3_000)]
    list(Record(write(tmp_path / "good", *lines)))
    lines.append(entry("d7/../d8/f8"))
    with pytest.raises(RecordError, match="d8/f8"):
        list(Record(write(tmp_path / "bad", *lines)))


def test_memory_does_not_grow_with_the_record(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "record", "wb", 1) as file:
        header = json.dumps(raw(bytes(512)))
        for number in range(ENTRIES):
            name = f"usr/share/doc/package-{number % 1000}/some/file/name-{number}"
            file.write(f'{header}\n{{"type":1,"name":"{name}"}}\n'.encode())
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from migrator.layer.digest import digest_record\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "digest = digest_record(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(digest.entries, after - before)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "record", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    entries, kilobytes = map(int, run.stdout.split())
    assert entries == ENTRIES
    # Their names alone would take more.
    assert kilobytes < ENTRIES * 80 // 1024


def test_failing_disk_is_no_fault_of_the_record(
    layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = write(tmp_path / "record", raw(b"header"))

    def fail(path: Path) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr("migrator.layer.tarsplit.open_regular", fail)
    with pytest.raises(LayerError, match="Input/output") as caught:
        digest_record(record, layer)
    assert not isinstance(caught.value, RecordError)
