"""Building a synthetic legacy store on disk, the same one for the same shape and seed.

The records are written with Python's own tarfile module and gzip, so that
nothing of migrator vouches for itself: the digest of each layer's tar, as it
was when it was built, is kept in `expected.json`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from fastcrc import crc64

from bench.shapes import Layer, Shape

EXPECTED = "expected.json"

# Files get slices of one pool, half random bytes and half text.
_POOL = 32 << 20
_TIME = 1_450_000_000
_FILES_A_DIRECTORY = 24


def build(shape: Shape, root: Path, driver: str = "aufs", seed: int = 1) -> None:
    """Build a data root of `shape` at `root`, which must not exist. `driver` is aufs or overlay.

    A build that was interrupted leaves no `root` behind.
    """
    aside = root.with_name(root.name + ".building")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _Builder(aside, driver, seed, shape.records).build(shape)
    aside.rename(root)


class _Builder:
    def __init__(self, root: Path, driver: str, seed: int, records: bool) -> None:
        self._root = root
        self._driver = driver
        self._records = records
        self._random = Random(seed)
        text = b" ".join(b"%x" % self._random.getrandbits(24) for _ in range(4096))
        self._pool = bytearray()
        while len(self._pool) < _POOL:
            self._pool += self._random.randbytes(64 << 10) + text[: 64 << 10]
        self._expected: dict[str, str] = {}

    def build(self, shape: Shape) -> None:
        tops: dict[str, list[str]] = {}
        for image in shape.images:
            line = list(tops[image.base]) if image.base else []
            for layer in image.layers:
                line.append(self._layer(layer, line))
            tops[image.name] = line
        tags = {name: {"latest": line[-1]} for name, line in tops.items()}
        repositories = self._root / f"repositories-{self._driver}"
        repositories.write_text(json.dumps({"Repositories": tags}))
        (self._root / EXPECTED).write_text(json.dumps(self._expected, indent=1))

    def _layer(self, layer: Layer, line: list[str]) -> str:
        """Build one layer on those of `line`; returns its v1 ID."""
        v1_id = self._random.randbytes(32).hex()
        graph = self._root / "graph" / v1_id
        graph.mkdir(parents=True)
        top = self._top(v1_id, line)
        record = Record(graph / "tar-data.json.gz")
        for info, content in self._entries(layer):
            _create(top, info, content)
            record.add(info, content)
        self._expected[v1_id] = record.finish()
        if not self._records:
            record.path.unlink()
        config = {
            "id": v1_id,
            "created": "2016-01-20T10:00:00.123456789Z",
            "container_config": {"Cmd": ["/bin/sh", "-c", f"#(nop) LAYER {len(line)}"]},
            "docker_version": "1.9.1",
            "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/bin/sh"]},
            "architecture": "amd64",
            "os": "linux",
        }
        if line:
            config["parent"] = line[-1]
        (graph / "json").write_text(json.dumps(config))
        (graph / "layersize").write_text(str(record.size))
        return v1_id

    def _top(self, v1_id: str, line: list[str]) -> Path:
        """The directory that the layer's files go into."""
        if self._driver == "aufs":
            for name in ("layers", "diff", "mnt"):
                (self._root / "aufs" / name).mkdir(parents=True, exist_ok=True)
            listed = "".join(f"{ancestor}\n" for ancestor in reversed(line))
            (self._root / "aufs" / "layers" / v1_id).write_text(listed)
            top = self._root / "aufs" / "diff" / v1_id
            top.mkdir()
            return top
        top = self._root / "overlay" / v1_id / "root"
        if line:
            top.parent.mkdir(parents=True)
            _link_tree(self._root / "overlay" / line[-1] / "root", top)
        else:
            top.mkdir(parents=True)
        return top

    def _entries(self, layer: Layer) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """The layer's tar, an entry at a time: directories, files, and links and empty files."""
        contents = [*layer.sizes(self._random), *[0] * layer.empty]
        self._random.shuffle(contents)
        package = f"{self._random.getrandbits(32):08x}"
        for start in range(0, len(contents), _FILES_A_DIRECTORY):
            number = start // _FILES_A_DIRECTORY
            directory = f"usr/share/{package}/{number % 40:02d}/module-{number}"
            parts = directory.split("/")
            for depth in range(1, len(parts) + 1):
                path = "/".join(parts[:depth])
                if number < 40 or depth == len(parts):
                    if number and depth < 4:
                        continue
                    yield self._info(path, tarfile.DIRTYPE, 0o755), b""
            for index, size in enumerate(contents[start : start + _FILES_A_DIRECTORY]):
                name = f"{directory}/{_STEMS[index % len(_STEMS)]}-{index:02d}.py"
                if size:
                    info = self._info(name, tarfile.REGTYPE, 0o644)
                    info.size = size
                    yield info, self._content(size)
                elif index % 3:
                    yield self._info(name, tarfile.REGTYPE, 0o644), b""
                else:
                    info = self._info(name, tarfile.SYMTYPE, 0o777)
                    info.linkname = "../module-0/main-00.py"
                    yield info, b""

    def _info(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = kind, mode, _TIME + self._random.randrange(10**6)
        return info

    def _content(self, size: int) -> bytes:
        start = self._random.randrange(_POOL)
        if start + size <= len(self._pool):
            return bytes(memoryview(self._pool)[start : start + size])
        whole, rest = divmod(size, len(self._pool))
        return bytes(self._pool[start:] + self._pool * (whole + 1))[:size] if rest else b""


_STEMS = ("main", "configuration", "test_parser", "util", "locale", "README", "index", "data")


class Record:
    """A tar-split record in the making, and the digest of the tar that it stands for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = gzip.GzipFile(path, "wb", 1, mtime=0)
        self._sha = hashlib.sha256()
        self._padding = b""
        self._position = 0

    def add(self, info: tarfile.TarInfo, content: bytes) -> None:
        self._segment(self._padding + info.tobuf(tarfile.PAX_FORMAT))
        self._sha.update(content)
        self.size += len(content)
        line: dict[str, object] = {"type": 1, "name": info.name + "/" * info.isdir()}
        checksum = None
        if content:
            line["size"] = len(content)
            checksum = base64.b64encode(crc64.go_iso(content).to_bytes(8, "big")).decode()
        self._line(line | {"payload": checksum})
        self._padding = bytes(-len(content) % tarfile.BLOCKSIZE)

    def finish(self) -> str:
        """Close it; returns the tar's digest."""
        self._segment(self._padding + bytes(2 * tarfile.BLOCKSIZE))
        self._segment(b"")
        self._file.close()
        return "sha256:" + self._sha.hexdigest()

    def _segment(self, data: bytes) -> None:
        self._sha.update(data)
        self._line({"type": 2, "payload": base64.b64encode(data).decode()})

    def _line(self, line: dict[str, object]) -> None:
        text = json.dumps(line | {"position": self._position}, separators=(",", ":"))
        self._file.write(text.encode() + b"\n")
        self._position += 1


def _create(top: Path, info: tarfile.TarInfo, content: bytes) -> None:
    path = top / info.name
    if info.isdir():
        path.mkdir(parents=True, exist_ok=True)
    elif info.issym():
        path.symlink_to(info.linkname)
    else:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, info.mode)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
    os.utime(path, (info.mtime, info.mtime), follow_symlinks=False)


def _link_tree(source: Path, target: Path) -> None:
    """A copy whose files are hard links, as the overlay driver makes one for a new layer."""
    shutil.copytree(source, target, symlinks=True, copy_function=_link)


def _link(source: str, target: str) -> None:
    os.link(source, target, follow_symlinks=False)
