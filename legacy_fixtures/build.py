#!/usr/bin/env python3
"""Build a legacy Docker data root from a description, the same bytes every time.

usage: build.py DIR [--driver overlay] [--layers 3] [--files 6] [--file-size 3000] ...

Small stores for tests, large ones for benchmarks. Nothing of migrator is used:
tars and their records are made with Python's own tarfile, so that diffIDs and
chainIDs (`Built`) are an expectation of their own.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import os
import random
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastcrc import crc64

_EPOCH = 1_450_000_000
_BLOCK = 1 << 20
_LAYER_ROOTS = {
    "aufs": "aufs/diff/{}",
    "btrfs": "btrfs/subvolumes/{}",
    "overlay": "overlay/{}/root",
    "vfs": "vfs/dir/{}",
}


@dataclass(frozen=True)
class Layer:
    """An image's layer on the layer with the index `parent`: new files, `file_size` bytes each.

    One on another also rewrites one of its parent's files and deletes one.
    """

    parent: int | None = None
    files: int = 6
    file_size: int = 3000


def line(length: int, files: int = 6, file_size: int = 3000) -> tuple[Layer, ...]:
    """So many layers, each on the one before."""
    return tuple(Layer(i - 1 if i else None, files, file_size) for i in range(length))


@dataclass(frozen=True)
class Container:
    """A container of the image with index `image`; `links` maps aliases to containers' names."""

    name: str
    image: int = 0
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """A data root. `tags` maps `NAME:TAG` to the index of an image.

    `checksums`: layers were pulled from a registry. `earlier`: Docker >= 1.10
    was started here once and pulled an image that shares the bottom layer and
    has taken the tag `app:latest` (takes records).
    """

    driver: str = "overlay"
    layers: tuple[Layer, ...] = line(3)
    records: bool = True
    tags: Mapping[str, int] = field(default_factory=lambda: {"app:latest": 1, "base:1": 0})
    containers: tuple[Container, ...] = ()
    checksums: bool = False
    earlier: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Built:
    """v1 IDs by index, container IDs by name; with records also diffIDs and chainIDs by index."""

    root: Path
    v1_ids: tuple[str, ...]
    container_ids: Mapping[str, str]
    diff_ids: tuple[str, ...]
    chain_ids: tuple[str, ...]


def build(store: Store, root: Path) -> Built:
    """Build `store` in `root`, a directory that does not exist yet."""
    return _Builder(store, root).build()


def _hex(*parts: object) -> str:
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Builder:
    def __init__(self, store: Store, root: Path) -> None:
        self.store = store
        self.root = root
        self.random = random.Random(store.seed)
        self.v1_ids = [_hex("layer", store.seed, i) for i in range(len(store.layers))]
        self.container_ids = {c.name: _hex(store.seed, c.name) for c in store.containers}
        self.diff_ids: list[str] = []
        self.sizes: list[int] = []
        self.chain_ids: list[str] = []

    def build(self) -> Built:
        self.root.mkdir(mode=0o711)
        for directory in ("graph/_tmp", "containers", "tmp", "volumes", self.store.driver):
            (self.root / directory).mkdir(parents=True)
        for index in range(len(self.store.layers)):
            changes = self._fill(index)
            self._image(index, changes)
        repositories: dict[str, dict[str, str]] = {}
        for tag, image in self.store.tags.items():
            repositories.setdefault(tag.rpartition(":")[0], {})[tag.rpartition(":")[2]] = (
                self.v1_ids[image]
            )
        self._write(f"repositories-{self.store.driver}", _dumps({"Repositories": repositories}))
        for container in self.store.containers:
            self._container(container)
        if self.store.containers:
            self._link_graph()
        if self.store.earlier:
            self._earlier()
        self._set_times()
        return Built(
            self.root,
            tuple(self.v1_ids),
            self.container_ids,
            tuple(self.diff_ids),
            tuple(self.chain_ids),
        )

    def _layer_root(self, name: str) -> Path:
        return self.root / _LAYER_ROOTS[self.store.driver].format(name)

    def _ancestors(self, index: int) -> list[int]:
        """The layers below, nearest first."""
        parent = self.store.layers[index].parent
        return [] if parent is None else [parent, *self._ancestors(parent)]

    def _fill(self, index: int) -> list[bytes]:
        """Make a layer's files; returns the paths of what it changes, in tar order."""
        layer, directory = self.store.layers[index], self._layer_root(self.v1_ids[index])
        self._new_tree(directory, None if layer.parent is None else self.v1_ids[layer.parent])
        if self.store.driver == "aufs":
            self._aufs_layer(self.v1_ids[index], [self.v1_ids[i] for i in self._ancestors(index)])
        names = [f"d{index}-{n % 4}/file{n}" for n in range(layer.files)]
        changes = {f"d{index}-{n % 4}/" for n in range(layer.files)} | {*names}
        if layer.parent is not None and self.store.layers[layer.parent].files > 1:
            below = f"d{layer.parent}-0/file0"
            names.append(below)
            gone = f"d{layer.parent}-1/file1"
            whiteout = gone.replace("/", "/.wh.")
            changes |= {f"d{layer.parent}-0/", f"d{layer.parent}-1/", below, whiteout}
            if self.store.driver == "aufs":
                (directory / whiteout).parent.mkdir(exist_ok=True)
                (directory / whiteout).touch()
                os.utime(directory / whiteout, (0, 0))
            else:
                (directory / gone).unlink()
        for name in names:
            self._file(directory / name, layer.file_size, index)
        link = directory / f"link{index}"
        link.symlink_to("/nowhere/outside")
        os.utime(link, (_EPOCH, _EPOCH + index), follow_symlinks=False)
        changes.add(link.name)
        for path in sorted(directory.rglob("*"), reverse=True):
            if path.is_dir():
                os.utime(path, (_EPOCH, _EPOCH))
        return sorted(map(os.fsencode, changes))

    def _new_tree(self, directory: Path, parent: str | None) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        if parent is None or self.store.driver == "aufs":
            directory.mkdir()
        else:
            how = "-al" if self.store.driver == "overlay" else "-a"
            subprocess.run(["cp", how, self._layer_root(parent), directory], check=True)

    def _aufs_layer(self, name: str, ancestors: list[str]) -> None:
        self._write(f"aufs/layers/{name}", "".join(f"{id}\n" for id in ancestors).encode())
        (self.root / "aufs/mnt" / name).mkdir(parents=True)

    def _file(self, path: Path, size: int, index: int) -> None:
        path.parent.mkdir(exist_ok=True)
        # Another layer may have the same file.
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            for start in range(0, size, _BLOCK):
                file.write(self.random.randbytes(min(_BLOCK, size - start)))
        os.utime(path, (_EPOCH, _EPOCH + 100 * index))

    def _image(self, index: int, changes: list[bytes]) -> None:
        v1_id, layer = self.v1_ids[index], self.store.layers[index]
        config = {
            "id": v1_id,
            "created": f"2015-12-01T00:00:{index % 60:02}Z",
            "container_config": {"Cmd": ["/bin/sh", "-c", f"step {index}"], "Image": ""},
            "docker_version": "1.9.1",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "Labels": {"n": str(index)}},
            "architecture": "amd64",
            "os": "linux",
        }
        if layer.parent is not None:
            config["parent"] = self.v1_ids[layer.parent]
        self._write(f"graph/{v1_id}/json", _dumps(config))
        size = layer.file_size * layer.files
        if self.store.records:
            size = self._record(index, changes)
        self._write(f"graph/{v1_id}/layersize", str(size).encode())
        if self.store.checksums:
            self._write(f"graph/{v1_id}/checksum", f"sha256:{_hex('blob', v1_id)}".encode())

    def _record(self, index: int, changes: list[bytes]) -> int:
        """Tar the changes, keeping only digest and record; returns the size of all content."""
        tar, size = hashlib.sha256(), 0
        path = self.root / "graph" / self.v1_ids[index] / "tar-data.json.gz"
        with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as record:
            position = 0

            def note(**values: object) -> None:
                nonlocal position
                record.write(_dumps({**values, "position": position}) + b"\n")
                position += 1

            padding = b""
            for name in changes:
                info, file = self._entry(index, os.fsdecode(name))
                header = padding + info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
                tar.update(header)
                note(type=2, payload=base64.b64encode(header).decode())
                crc = 0
                if info.size:
                    for block in _blocks(file):
                        tar.update(block)
                        crc = crc64.go_iso(block, crc)
                check = base64.b64encode(crc.to_bytes(8, "big")).decode() if info.size else None
                shown = {"size": info.size} if info.size else {}
                note(type=1, name=os.fsdecode(name), **shown, payload=check)
                padding = bytes(-info.size % tarfile.BLOCKSIZE)
                size += info.size
            end = padding + bytes(2 * tarfile.BLOCKSIZE)
            tar.update(end)
            note(type=2, payload=base64.b64encode(end).decode())
            note(type=2, payload="")
        self.diff_ids.append("sha256:" + tar.hexdigest())
        self.sizes.append(size)
        parent = self.store.layers[index].parent
        chain = self.diff_ids[index]
        if parent is not None:
            chain = _digest(f"{self.chain_ids[parent]} {chain}".encode())
        self.chain_ids.append(chain)
        return size

    def _entry(self, index: int, name: str) -> tuple[tarfile.TarInfo, Path]:
        file = self._layer_root(self.v1_ids[index]) / name
        info = tarfile.TarInfo(name.rstrip("/"))
        if "/.wh." in name:
            info.mode = 0
            return info, file
        status = file.lstat()
        info.mode, info.mtime = status.st_mode & 0o7777, int(status.st_mtime)
        if name.endswith("/"):
            info.name, info.type = name, tarfile.DIRTYPE
        elif file.is_symlink():
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(file)
        else:
            info.size = status.st_size
        return info, file

    def _container(self, container: Container) -> None:
        name, image = self.container_ids[container.name], self.v1_ids[container.image]
        config = {"ID": name, "Name": f"/{container.name}", "Image": image}
        driver = self.store.driver
        self._write(f"containers/{name}/config.json", _dumps({**config, "Driver": driver}))
        hostconfig = _dumps({"Binds": None, "Links": None, "Privileged": False})
        self._write(f"containers/{name}/hostconfig.json", hostconfig)
        (self.root / f"containers/{name}/hostconfig.json").chmod(0o640)
        os.chown(self.root / f"containers/{name}/hostconfig.json", 7, 8)
        for layer in (f"{name}-init", name):
            if driver == "overlay":
                for part in ("upper", "work", "merged"):
                    (self.root / f"overlay/{layer}" / part).mkdir(parents=True)
                self._write(f"overlay/{layer}/lower-id", image.encode())
            else:
                self._new_tree(self._layer_root(layer), image)
            if driver == "aufs":
                self._aufs_layer(layer, [image])

    def _link_graph(self) -> None:
        edges = [("0", id, name) for name, id in self.container_ids.items()]
        for container in self.store.containers:
            parent = self.container_ids[container.name]
            edges += [(parent, self.container_ids[o], a) for a, o in container.links.items()]
        connection = sqlite3.connect(self.root / "linkgraph.db")
        connection.execute("CREATE TABLE entity (id text NOT NULL PRIMARY KEY)")
        connection.execute("CREATE TABLE edge (entity_id text, parent_id text, name text)")
        ids = [("0",), *((id,) for id in self.container_ids.values())]
        connection.executemany("INSERT INTO entity VALUES (?)", ids)
        rows = [(child, parent, name) for parent, child, name in edges]
        connection.executemany("INSERT INTO edge VALUES (?, ?, ?)", rows)
        connection.commit()
        connection.close()

    def _earlier(self) -> None:
        if not self.store.records:
            raise ValueError("an earlier store shares a layer, whose diffID only a record tells")
        base = f"image/{self.store.driver}"
        diff_id = self.diff_ids[0]
        cache_id = _hex("pulled", self.store.seed)
        layer = f"{base}/layerdb/sha256/{self.chain_ids[0].removeprefix('sha256:')}"
        record = (self.root / "graph" / self.v1_ids[0] / "tar-data.json.gz").read_bytes()
        parent, target = self._layer_root(self.v1_ids[0]), self._layer_root(cache_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", parent, target], check=True)
        self._write(f"{layer}/cache-id", cache_id.encode())
        self._write(f"{layer}/diff", diff_id.encode())
        self._write(f"{layer}/size", str(self.sizes[0]).encode())
        self._write(f"{layer}/tar-split.json.gz", record)
        config = {
            "architecture": "amd64",
            "config": {"Cmd": ["pulled"]},
            "created": "2016-02-01T00:00:00Z",
            "history": [{"created": "2016-02-01T00:00:00Z"}],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
        image_id = _digest(_dumps(config))
        content = f"{base}/imagedb/content/{image_id.replace(':', '/')}"
        self._write(content, _dumps(config))
        (self.root / base / "imagedb/metadata/sha256").mkdir(parents=True)
        tags = {"app": {"app:latest": image_id}, "pulled": {"pulled:1": image_id}}
        self._write(f"{base}/repositories.json", _dumps({"Repositories": tags}))
        blob = _hex("pulled blob")
        known = [{"Digest": f"sha256:{blob}", "SourceRepository": "docker.io/pulled"}]
        distribution = f"{base}/distribution"
        self._write(f"{distribution}/diffid-by-digest/sha256/{blob}", diff_id.encode())
        metadata = f"{distribution}/v2metadata-by-diffid/{diff_id.replace(':', '/')}"
        self._write(metadata, _dumps(known))

    def _write(self, path: str, data: bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        os.utime(target, (_EPOCH, _EPOCH))

    def _set_times(self) -> None:
        """Give everything but the layers' own files, which have theirs, one time."""
        driver = self.root / self.store.driver
        for directory, _, files in os.walk(self.root, topdown=False):
            inside = Path(directory).is_relative_to(driver)
            for name in () if inside else files:
                os.utime(Path(directory, name), (_EPOCH, _EPOCH))
            os.utime(directory, (_EPOCH, _EPOCH))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--driver", choices=_LAYER_ROOTS, default="overlay")
    parser.add_argument("--layers", type=int, default=3, help="in one line")
    parser.add_argument("--files", type=int, default=6, help="a layer")
    parser.add_argument("--file-size", type=int, default=3000, help="bytes")
    parser.add_argument("--no-records", action="store_true")
    parser.add_argument("--containers", type=int, default=0, help="each linked to the one before")
    parser.add_argument("--checksums", action="store_true")
    parser.add_argument("--earlier", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    top = given.layers - 1
    containers = [
        Container(f"c{n}", top, {"before": f"c{n - 1}"} if n else {})
        for n in range(given.containers)
    ]
    store = Store(
        driver=given.driver,
        layers=line(given.layers, given.files, given.file_size),
        records=not given.no_records,
        tags={"app:latest": top, "base:1": 0},
        containers=tuple(containers),
        checksums=given.checksums,
        earlier=given.earlier,
        seed=given.seed,
    )
    build(store, given.directory)


if __name__ == "__main__":
    main()
