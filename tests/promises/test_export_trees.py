"""The awkward layer, out of drivers of both kinds, unpacked by umoci."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docker.trees import tree
from tests.stores.exported import Layout, export

_TIME = 1_400_000_000
# <linux/capability.h>: cap_net_raw+ep, as `setcap` writes it.
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

Step = Callable[[Path], None]


def bottom(root: Path) -> None:
    """What the layers above change."""
    for directory in ("gone/deep", "opaque/old", "here", "there", "dir", "dev", "kept"):
        (root / directory).mkdir(parents=True)
    for name in ("gone/deep/file", "opaque/old/file", "opaque/f", "here/first", "dir/a", "file"):
        (root / name).write_text(f"bottom {name}")
    # In a tree it is a file like any other, in a tar it is not.
    (root / "gone/.wh.x").touch()
    os.link(root / "here/first", root / "there/second")
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(root / "dev/loop", 0o660 | stat.S_IFBLK, os.makedev(7, 300))
    os.mkfifo(root / "dev/pipe")
    (root / "kept/tool").write_text("tool")
    (root / "kept/tool").chmod(0o4755)
    os.chown(root / "kept/tool", 3_000_000, 70_000)
    os.setxattr(root / "kept/tool", "security.capability", _CAPABILITY)
    (root / "kept/link").symlink_to("/no/where")


def middle(root: Path) -> None:
    """As a complete tree: gone, replaced, new."""
    shutil.rmtree(root / "gone")
    shutil.rmtree(root / "opaque")
    (root / "opaque").mkdir()
    (root / "opaque/new").write_text("only this")
    (root / "file").unlink()
    (root / "file/now").mkdir(parents=True)
    (root / "file/now/dir").write_text("below what was a file")
    shutil.rmtree(root / "dir")
    (root / "dir").write_text("was a directory")
    (root / "dev/null").unlink()
    os.mknod(root / "dev/null", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    middle_new(root)


def middle_new(root: Path) -> None:
    (root / "new/nested/deeper").mkdir(parents=True)
    (root / "new/nested/deeper/file").write_text("new")
    (root / "left").mkdir()
    (root / "left/one").write_text("linked")
    os.link(root / "left/one", root / "new/nested/two")


def middle_branch(root: Path) -> None:
    """The same as aufs has it: with whiteouts, and opaque directories nested in new ones."""
    (root / ".wh..wh.aufs").touch()
    for directory in ("opaque", "file/now", "dev"):
        (root / directory).mkdir(parents=True)
    os.link(root / ".wh..wh.aufs", root / ".wh.gone")
    (root / "opaque/.wh..wh..opq").touch()
    (root / "opaque/new").write_text("only this")
    (root / "file/now/dir").write_text("below what was a file")
    (root / "file/.wh..wh..opq").touch()
    (root / "dir").write_text("was a directory")
    os.mknod(root / "dev/null", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    middle_new(root)
    for directory in ("new", "new/nested", "new/nested/deeper"):
        (root / directory / ".wh..wh..opq").touch()


def top(root: Path) -> None:
    """Back again."""
    shutil.rmtree(root / "file", ignore_errors=True)
    (root / "file").write_text("a file again")
    (root / "dir").unlink(missing_ok=True)
    (root / "dir/b").mkdir(parents=True)


def store(root: Path, driver: str, steps: list[Step]) -> list[Path]:
    """A legacy store without records; returns the layers' directories."""
    layers: list[Path] = []
    for number, step in enumerate(steps):
        v1_id = f"{number + 1:064x}"
        config = {"id": v1_id, "os": "linux", "architecture": "amd64"}
        if layers:
            config["parent"] = layers[-1].name
        (root / "graph" / v1_id).mkdir(parents=True)
        (root / "graph" / v1_id / "json").write_text(json.dumps(config))
        layer = root / {"aufs": "aufs/diff", "vfs": "vfs/dir"}[driver] / v1_id
        if driver == "vfs" and layers:
            subprocess.run(["cp", "-a", layers[-1], layer], check=True)
        else:
            layer.mkdir(parents=True)
        step(layer)
        for path in sorted(layer.rglob("*")):
            if path.lstat().st_mtime > _TIME + len(steps):
                os.utime(path, (_TIME + number,) * 2, follow_symlinks=False)
        layers.append(layer)
    tags = {"Repositories": {"awkward": {"latest": layers[-1].name}}}
    (root / f"repositories-{driver}").write_text(json.dumps(tags))
    return layers


@pytest.mark.parametrize("driver", ["vfs", "aufs"])
def test_the_awkward_layer(driver: str, tmp_path: Path) -> None:
    *_, complete = store(tmp_path / "vfs", "vfs", [bottom, middle, top])
    if driver == "aufs":
        store(tmp_path / "aufs", "aufs", [bottom, middle_branch, top])
    assert export(tmp_path / driver, tmp_path / "out").returncode == 0
    layout = Layout.read(tmp_path / "out")
    layout.check_diff_ids()
    expected = tree(complete, besides=set())
    assert not {"gone", "opaque/old", "opaque/f", "file/now"} & expected.keys()
    assert expected["new/nested/two"][-1] == "left/one"
    unpacked = layout.unpack("awkward:latest", tmp_path / "bundle")
    assert tree(unpacked, besides=set()) == expected
