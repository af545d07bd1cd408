"""`verify --deep`: what a layer inherits, which no record of its own covers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.layer.tarsplit import Record
from tests.stores.verify_roots import GoldenRoot, build

Change = Callable[[Path], object]


def files_of(root: GoldenRoot) -> dict[str, str]:
    return {"vfs": "vfs/dir/{}", "btrfs": "btrfs/subvolumes/{}", "overlay": "overlay/{}/root"}[
        root.driver
    ]


@pytest.fixture(params=["vfs", "btrfs"])
def root(
    request: pytest.FixtureRequest,
    store_copy: Callable[[str], Path],
    golden: Callable[[str], dict[str, Any]],
) -> GoldenRoot:
    path = store_copy("docker-1.9.1-btrfs")
    if request.param == "vfs":
        (path / "vfs").mkdir()
        (path / "btrfs" / "subvolumes").rename(path / "vfs" / "dir")
    return build(path, golden("docker-1.9.1-btrfs"), request.param)


def leaf(root: GoldenRoot) -> tuple[str, str]:
    """A layer on which no other is built, by chainID and directory, which inherits etc/passwd."""
    layers = root.golden["layers"]
    parents = {layer["parent"] for layer in layers.values()}
    for chain, layer in layers.items():
        if layer["parent"] and f"sha256:{chain}" not in parents and layer["size"] == "0":
            return f"sha256:{chain}", files_of(root).format(layer["cache-id"])
    raise AssertionError


def overwrite_keeping_time(path: Path) -> None:
    status = path.stat()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def link_elsewhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (overwrite_keeping_time, "other content"),
        (lambda path: path.chmod(0o600), "the mode"),
        (lambda path: os.chown(path, 7, 8), "belongs to 7:8"),
        (lambda path: os.utime(path, ns=(0, 5 * 10**9)), "another mtime"),
        (Path.unlink, "is missing"),
        (link_elsewhere, "another type"),
        (
            lambda path: os.setxattr(
                path, "security.capability", b"\x00\x00\x00\x02\x00\x04" + bytes(14)
            ),
            "security.capability",
        ),
    ],
    ids=range(7),
)
def test_an_inherited_file_that_differs(root: GoldenRoot, change: Change, reason: str) -> None:
    chain, directory = leaf(root)
    change(root.path / directory / "etc" / "passwd")
    assert root.verify().findings == ()
    (finding,) = root.verify(deep=True).findings
    assert (finding.name, finding.path) == (chain, f"{directory}/etc/passwd")
    assert reason in finding.reason


def test_something_that_no_record_knows(root: GoldenRoot) -> None:
    chain, directory = leaf(root)
    (root.path / directory / "etc" / "new" / "er").mkdir(parents=True)
    found = {(finding.name, finding.path) for finding in root.verify(deep=True).findings}
    assert found == {(chain, f"{directory}/etc/new"), (chain, f"{directory}/etc/new/er")}


def test_an_inherited_link_and_directory(root: GoldenRoot) -> None:
    _, directory = leaf(root)
    tree = root.path / directory
    links = [path for path in sorted(tree.rglob("*")) if path.is_symlink()]
    status = links[0].lstat()
    links[0].unlink()
    links[0].symlink_to("elsewhere")
    os.utime(links[0], ns=(0, status.st_mtime_ns), follow_symlinks=False)
    os.lchown(links[0], status.st_uid, status.st_gid)
    shutil.rmtree(tree / "etc")
    found = {finding.path: finding.reason for finding in root.verify(deep=True).findings}
    assert found.pop(f"{directory}/etc").startswith("is missing")
    assert list(found) == [str(links[0].relative_to(root.path))]


def test_an_entry_without_content_that_is_not_there(root: GoldenRoot) -> None:
    base, layer = next(item for item in root.golden["layers"].items() if not item[1]["parent"])
    directory = files_of(root).format(layer["cache-id"])
    tree = root.path / directory
    gone = next(path for path in sorted(tree.rglob("*")) if path.is_symlink())
    gone.unlink()
    assert root.verify().findings == ()
    paths = {f.path for f in root.verify(deep=True).findings if f.name == f"sha256:{base}"}
    assert paths == {str(gone.relative_to(root.path))}


def test_what_is_deleted_and_yet_there(root: GoldenRoot) -> None:
    deleted = 0
    for chain, layer in root.golden["layers"].items():
        if layer["parent"] is None:
            continue
        above = root.golden["layers"][layer["parent"].removeprefix("sha256:")]
        mine, theirs = (root.path / files_of(root).format(x["cache-id"]) for x in (layer, above))
        for path in [p for p in theirs.rglob("*") if p.is_file() and not p.is_symlink()]:
            copy = mine / path.relative_to(theirs)
            if copy.parent.is_dir() and not os.path.lexists(copy):
                shutil.copy2(path, copy)
                deleted += 1
                found = {
                    (finding.name, finding.path) for finding in root.verify(deep=True).findings
                }
                assert (f"sha256:{chain}", str(copy.relative_to(root.path))) in found
                copy.unlink()
    assert deleted


def test_overlay_copies_that_are_no_longer_hard_links(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = build(store_copy("docker-1.9.1-overlay"), golden("docker-1.9.1-overlay"))
    chain, directory = leaf(root)
    path = root.path / directory / "etc" / "passwd"
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    assert root.verify(deep=True).findings == ()
    overwrite_keeping_time(path)
    (finding,) = root.verify(deep=True).findings
    assert (finding.name, finding.path) == (chain, f"{directory}/etc/passwd")


def test_a_branch_that_holds_more_or_less_than_its_record(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = build(store_copy("docker-1.9.1-aufs"), golden("docker-1.9.1-aufs"))
    layer = next(v for v in root.golden["layers"].values() if not v["parent"])
    tree = root.path / "aufs" / "diff" / layer["cache-id"]
    link = next(path for path in sorted(tree.rglob("*")) if path.is_symlink())
    link.unlink()
    (tree / "etc" / "new").touch()
    paths = {finding.path for finding in root.verify(deep=True).findings}
    assert paths == {
        str(link.relative_to(root.path)),
        f"aufs/diff/{layer['cache-id']}/etc/new",
    }


CAPABILITY = b"\x00\x00\x00\x02\x00\x04" + bytes(14)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.chmod(0o4600), "has the mode 4600"),
        (lambda path: os.chown(path, 7, 8), "belongs to 7:8"),
        (lambda path: os.setxattr(path, "security.capability", CAPABILITY), "security.capability"),
    ],
    ids=["mode", "owner", "capability"],
)
@pytest.mark.parametrize("driver", ["aufs", "btrfs", "overlay"])
def test_a_layers_own_file_that_is_not_as_recorded(
    driver: str,
    change: Change,
    reason: str,
    store_copy: Callable[[str], Path],
    golden: Callable[[str], dict[str, Any]],
) -> None:
    root = build(store_copy(f"docker-1.9.1-{driver}"), golden(f"docker-1.9.1-{driver}"))
    chain, path = own_file(root)
    change(path)
    (finding,) = [f for f in root.verify(deep=True).findings if f.name == f"sha256:{chain}"]
    assert finding.path == str(path.relative_to(root.path))
    assert reason in finding.reason


def own_file(root: GoldenRoot) -> tuple[str, Path]:
    """A bottom layer, and a file of its own."""
    chain, layer = next(item for item in root.golden["layers"].items() if not item[1]["parent"])
    files = {"aufs": "aufs/diff/{}", "btrfs": "btrfs/subvolumes/{}", "overlay": "overlay/{}/root"}
    return chain, root.path / files[root.driver].format(layer["cache-id"]) / "etc" / "passwd"


def test_own_things_of_another_kind(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = build(store_copy("docker-1.9.1-aufs"), golden("docker-1.9.1-aufs"))
    tree = own_file(root)[1].parent.parent
    link = next(path for path in sorted(tree.rglob("*")) if path.is_symlink())
    link_elsewhere(link)
    empty = next(
        p
        for p in sorted(tree.rglob("*"))
        if p.is_file()
        and not p.is_symlink()
        and not p.stat().st_size
        and not p.name.startswith(".wh.")
    )
    empty.unlink()
    empty.mkdir()
    found = {finding.path: finding.reason for finding in root.verify(deep=True).findings}
    assert "links to something else" in found.pop(str(link.relative_to(root.path)))
    assert "another type" in found.pop(str(empty.relative_to(root.path)))
    assert not found


def test_owners_of_a_daemon_with_user_namespaces(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = build(store_copy("docker-1.9.1-aufs"), golden("docker-1.9.1-aufs"))
    os.chown(root.path, 0, 100000)
    os.chown(own_file(root)[1], 100000, 100000)
    assert root.verify(deep=True).findings == ()


def test_an_own_directory_is_gone_that_the_parent_has(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = build(store_copy("docker-1.9.1-btrfs"), golden("docker-1.9.1-btrfs"))
    for chain, layer in root.golden["layers"].items():
        if not layer["parent"]:
            continue
        tree, above = (
            root.path / "btrfs" / "subvolumes" / root.golden["layers"][c]["cache-id"]
            for c in (chain, layer["parent"].removeprefix("sha256:"))
        )
        record = root.layer(chain) / "tar-split.json.gz"
        own = {path.rstrip(b"/") for path in Record(record).names()}
        both = [p for p in own if (above / os.fsdecode(p)).is_dir() and p != b"."]
        for path in (tree / os.fsdecode(p) for p in both):
            shutil.rmtree(path)
            paths = {f.path for f in root.verify(deep=True).findings}
            assert str(path.relative_to(root.path)) in paths
            return
    raise AssertionError("no such layer")


def test_a_hard_link_has_become_a_symbolic_one(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = build(store_copy("docker-1.9.1-aufs"), golden("docker-1.9.1-aufs"))
    chain, layer = next(
        (chain, layer)
        for chain, layer in root.golden["layers"].items()
        if b"bin/tool" in (name.rstrip(b"/") for name in Record(record(root, chain)).names())
    )
    tool = root.path / "aufs" / "diff" / layer["cache-id"] / "bin" / "tool"
    tool.unlink()
    tool.symlink_to("elsewhere")
    assert tool.lstat().st_nlink == 1
    (finding,) = [f for f in root.verify(deep=True).findings if f.name == f"sha256:{chain}"]
    assert finding.path == str(tool.relative_to(root.path))
    assert "another type" in finding.reason


def record(root: GoldenRoot, chain: str) -> Path:
    return root.layer(chain) / "tar-split.json.gz"
