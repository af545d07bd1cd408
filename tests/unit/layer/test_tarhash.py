"""Hashing what is written and read, mapped or not, whole or cut short."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from fastcrc import crc64

from migrator.layer import tarhash
from migrator.layer.tarhash import BUFFER, TarHash

SIZES = [1, BUFFER - 1, BUFFER, BUFFER + 1, (1 << 20) - 1, 1 << 20, (8 << 20) + 4097, 17 << 20]


def hash_file(path: Path, size: int, amounts: list[int]) -> tuple[str, int, int]:
    tar = TarHash(amounts.append)
    tar.write(b"head")
    fd = os.open(path, os.O_RDONLY)
    try:
        got, crc = tar.read(fd, size)
    finally:
        os.close(fd)
    tar.write(b"tail")
    return tar.finish(), got, crc


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["mapped", "old kernel"])
def test_any_size(size: int, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "old kernel":
        # Advice that no kernel knows.
        monkeypatch.setattr(tarhash, "_MADV_POPULATE_READ", 9999)
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    amounts: list[int] = []
    digest, got, crc = hash_file(tmp_path / "file", size, amounts)
    assert digest == "sha256:" + hashlib.sha256(b"head" + content + b"tail").hexdigest()
    assert (got, crc) == (size, crc64.go_iso(content))
    assert sum(amounts) == size + 8


@pytest.mark.parametrize("size", [100, 1 << 20, (8 << 20) + 1, 20 << 20])
def test_file_that_ends_early(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    digest, got, crc = hash_file(tmp_path / "file", size + 5000, [])
    assert (got, crc) == (size, crc64.go_iso(content))
    assert digest == "sha256:" + hashlib.sha256(b"head" + content + b"tail").hexdigest()


@pytest.mark.parametrize("size", [0, 100, BUFFER + 1, (8 << 20) + 4097])
def test_a_sink_gets_all_that_is_hashed(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    taken = bytearray()
    tar = TarHash(sink=taken.extend)
    large = os.urandom(BUFFER + 100)
    tar.write(b"head")
    with (tmp_path / "file").open("rb") as file:
        tar.read(file.fileno(), size)
    tar.write(large)
    digest = tar.finish()
    assert taken == b"head" + content + large
    assert digest == "sha256:" + hashlib.sha256(taken).hexdigest()
    assert tar.length == len(taken)
