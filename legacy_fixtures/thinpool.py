#!/usr/bin/env python3
"""Move the layers of a legacy store with complete trees onto a thin pool, as devicemapper has them.

usage: thinpool.py ROOT [--driver vfs] [--fs ext4] [--size BYTES]

Every layer becomes a snapshot of its parent's device, mounted and changed; of
what comes out, blocks that are the same as the parent's are shared. The kernel's
device-mapper is not needed: the mapping is written by `thin_restore`. As in
build.py, nothing of migrator is used.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 64 << 10
_TREES = {"vfs": "vfs/dir/{}", "overlay": "overlay/{}/root"}
_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
}
# mkfs.xfs makes none that is smaller.
_SIZES = {"ext4": 64 << 20, "xfs": 320 << 20}


@dataclass
class _Pool:
    """Blocks of data and who has them: by device, block of the device to block of the pool."""

    data: Path
    devices: dict[str, dict[int, int]] = field(default_factory=dict)
    blocks: int = 0

    def take(self, name: str, image: Path, below: str | None) -> None:
        """Take in the device `name`, a changed snapshot of the device `below`."""
        mapping = dict(self.devices[below]) if below is not None else {}
        with image.open("rb", buffering=0) as file, self.data.open("r+b", buffering=0) as data:
            for number in _blocks_with_data(file.fileno()):
                content = os.pread(file.fileno(), BLOCK, number * BLOCK)
                known = mapping.get(number)
                before = (
                    bytes(BLOCK) if known is None else os.pread(data.fileno(), BLOCK, known * BLOCK)
                )
                if content != before:
                    mapping[number] = self.blocks
                    os.pwrite(data.fileno(), content, self.blocks * BLOCK)
                    self.blocks += 1
        self.devices[name] = mapping

    def xml(self) -> str:
        """What `thin_restore` makes the pool's metadata of."""
        lines = [
            f'<superblock uuid="" time="1" transaction="{len(self.devices)}" flags="0" version="1"'
            f' data_block_size="{BLOCK // 512}" nr_data_blocks="{self.blocks}">'
        ]
        for number, mapping in enumerate(self.devices.values(), 1):
            lines.append(
                f'<device dev_id="{number}" mapped_blocks="{len(mapping)}" transaction="{number}"'
                f' creation_time="0" snap_time="1">'
            )
            lines += [
                f'<single_mapping origin_block="{origin}" data_block="{block}" time="0"/>'
                for origin, block in sorted(mapping.items())
            ]
            lines.append("</device>")
        return "\n".join([*lines, "</superblock>"])


def to_thin_pool(
    root: Path,
    driver: str = "vfs",
    fs: str = "ext4",
    size: int = 0,
    *,
    afresh: bool = False,
    dirty: bool = False,
) -> None:
    """Turn the store in `root` into one of the devicemapper driver, in the loop-lvm mode.

    `size` is that of a device. Layers are changed from their parents file by file,
    or, with `afresh` (what keeps hard links), emptied and filled. With `dirty` the
    pool has them as they were before they were unmounted, with their journals
    still to be replayed.
    """
    size = size or _SIZES[fs]
    trees = {name: root / _TREES[driver].format(name) for name in _layers(root, driver)}
    top = root / "devicemapper"
    for directory in (top / "devicemapper", top / "metadata", top / "mnt"):
        directory.mkdir(parents=True)
    pool = _Pool(top / "devicemapper/data")
    pool.data.touch()
    with tempfile.TemporaryDirectory(dir=root.parent) as work:
        images = Path(work)
        base = images / "base"
        with base.open("wb") as file:
            file.truncate(size)
        subprocess.run([*_MAKE[fs], base], check=True)
        pool.take("base", base, None)
        parents = _layers(root, driver)
        for name, parent in parents.items():
            image, below = images / name, parent or "base"
            subprocess.run(["cp", "--sparse=always", images / below, image], check=True)
            with _mounted(image, fs) as mounted:
                _fill(mounted / "rootfs", trees[name], trees.get(below), afresh)
                if dirty:
                    _commit(mounted)
                    pool.take(name, image, below)
            if not dirty:
                pool.take(name, image, below)
            if name not in parents.values():
                image.unlink()
        document = images / "pool.xml"
        document.write_text(pool.xml())
        metadata = top / "devicemapper/metadata"
        with metadata.open("wb") as file:
            file.truncate((4 << 20) + 64 * sum(map(len, pool.devices.values())) // 4096 * 4096)
        subprocess.run(
            ["thin_restore", "-i", document, "-o", metadata], check=True, stdout=subprocess.DEVNULL
        )
    with pool.data.open("r+b") as file:
        file.truncate(pool.blocks * BLOCK)
    for number, name in enumerate(pool.devices, 1):
        record = {"device_id": number, "size": size, "transaction_id": number}
        record["initialized"] = name == "base"
        (top / "metadata" / name).write_text(json.dumps(record))
    (top / "metadata/deviceset-metadata").write_text(json.dumps({"BaseDeviceFilesystem": fs}))
    _rename(root, driver)


def _layers(root: Path, driver: str) -> dict[str, str | None]:
    """All layers with their parents, which come first; containers' last."""
    found: dict[str, str | None] = {}
    waiting = {
        path.parent.name: json.loads(path.read_bytes()).get("parent") or None
        for path in sorted(root.glob("graph/*/json"))
    }
    while waiting:
        ready = {name: parent for name, parent in waiting.items() if parent not in waiting}
        found |= ready
        waiting = {name: parent for name, parent in waiting.items() if name not in ready}
    for path in sorted(root.glob("containers/*/config.json")):
        name, image = path.parent.name, json.loads(path.read_bytes())["Image"]
        if driver == "vfs" and (root / "vfs/dir" / name).is_dir() and image in found:
            found |= {f"{name}-init": image, name: f"{name}-init"}
    return {name: parent for name, parent in found.items() if _is_there(root, driver, name)}


def _is_there(root: Path, driver: str, name: str) -> bool:
    return (root / _TREES[driver].format(name)).is_dir()


def _fill(target: Path, tree: Path, below: Path | None, afresh: bool) -> None:
    """Make `target`, which is like the tree `below`, like `tree`."""
    if afresh or below is None or not target.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", tree, target], check=True)
        return
    _change(target, tree, below)


def _change(target: Path, tree: Path, below: Path) -> None:
    names, before = set(os.listdir(tree)), set(os.listdir(below))
    for name in sorted(before - names):
        _remove(target / name)
    for name in sorted(names):
        new, old = tree / name, below / name
        if name in before and _is_directory(new) and _is_directory(old):
            _change(target / name, new, old)
        elif name not in before or not _same(new, old):
            _remove(target / name)
            subprocess.run(["cp", "-a", new, target / name], check=True)
    if (before ^ names) or not _same(tree, below):
        shutil.copystat(tree, target)
        os.chown(target, tree.stat().st_uid, tree.stat().st_gid)
    else:
        os.utime(target, ns=(tree.stat().st_atime_ns, tree.stat().st_mtime_ns))


def _same(new: Path, old: Path) -> bool:
    one, other = new.lstat(), old.lstat()
    if os.path.samestat(one, other):
        return True
    fields = ("st_mode", "st_uid", "st_gid", "st_rdev", "st_mtime_ns")
    if any(getattr(one, name) != getattr(other, name) for name in fields):
        return False
    if stat.S_ISLNK(one.st_mode):
        return os.readlink(new) == os.readlink(old)
    return not stat.S_ISREG(one.st_mode) or filecmp.cmp(new, old, shallow=False)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _blocks_with_data(fd: int) -> Iterator[int]:
    """The blocks of a sparse file that are not all hole."""
    end, at = os.fstat(fd).st_size, 0
    while at < end:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield from range(start // BLOCK, -(-at // BLOCK))
        at = -(-at // BLOCK) * BLOCK


def _commit(mounted: Path) -> None:
    """Have all changes in the journal, as fsync does; where they belong they need not be."""
    for path in (mounted / "rootfs").rglob("*"):
        if path.is_file() or path.is_dir():
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


@contextmanager
def _mounted(image: Path, fs: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        options = "loop,nouuid" if fs == "xfs" else "loop"
        subprocess.run(["mount", "-t", fs, "-o", options, image, directory], check=True)
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", directory], check=True)


def _rename(root: Path, driver: str) -> None:
    """What names the driver names the other one now; the trees are gone."""
    (root / f"repositories-{driver}").rename(root / "repositories-devicemapper")
    for path in root.glob("containers/*/config.json"):
        text = path.read_text("utf-8", "surrogateescape")
        for form in ('"Driver":"{}"', '"Driver": "{}"'):
            text = text.replace(form.format(driver), form.format("devicemapper"))
        path.write_text(text, "utf-8", "surrogateescape")
    shutil.rmtree(root / driver)


def main() -> None:
    """The command line: see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--driver", choices=sorted(_TREES), default="vfs")
    parser.add_argument("--fs", choices=sorted(_MAKE), default="ext4")
    parser.add_argument("--size", type=int, default=0)
    given = parser.parse_args()
    to_thin_pool(given.root, given.driver, given.fs, given.size)


if __name__ == "__main__":
    main()
