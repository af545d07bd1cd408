"""Directories of overlay2, mounted by the kernel: they show what the source driver shows."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator.errors import LayerError, StoreError
from migrator.layer.recordpaths import RecordPaths
from migrator.system import disk
from migrator.tree.fingerprint import fingerprint
from migrator.tree.overlaydir import Built, Transfer, build, choose_transfer
from migrator.tree.ownfiles import OwnFiles
from tests.stores.hostile import file_line, pack
from tests.stores.stacked import aufs_seen, seen, stacked

pytestmark = pytest.mark.root

T = 1_400_000_000 * 10**9
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
# user:rwx, user 7:r, group:r, mask:rwx, other:none; the same for new files.
ACL = bytes.fromhex(
    "02000000 01000700ffffffff 0200040007000000 04000400ffffffff 10000700ffffffff 20000000ffffffff"
)
OPAQUE = "trusted.overlay.opaque"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def put(path: Path, content: str = "x", mode: int = 0o644) -> Path:
    """A new file, whatever was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def renewed(path: Path) -> Path:
    """The same file, but not the one that other trees have a link to."""
    _run("cp", "-a", path, f"{path}.new")
    Path(f"{path}.new").replace(path)
    return path


def base(root: Path) -> None:
    for name in ("gone/deep/f", "gone/.wh.x", "to-dir", "to-file/a/b", "replaced/in/f", "keep/f"):
        put(root / name, name)
    (root / os.fsdecode(b"keep/\xff\n")).symlink_to("../nowhere")
    put(root / "keep/setuid", mode=0o6755)
    put(root / "keep/sparse").open("r+b").truncate(1 << 20)
    os.link(put(root / "keep/one", "linked"), root / "gone/two")
    os.link(root / "keep/one", root / "replaced/three")
    os.mknod(root / "keep/null", 0o20666, os.makedev(1, 3))
    os.mknod(root / "keep/disk", 0o60660, os.makedev(259, 70000))
    os.mkfifo(root / "keep/fifo")
    os.mknod(root / "keep/socket", 0o140755)
    os.chown(root / "keep/fifo", 70000, 1 << 31)
    os.chown(root / os.fsdecode(b"keep/\xff\n"), 5, 6, follow_symlinks=False)
    os.setxattr(root / "keep/f", "user.note", b"\0value")
    os.setxattr(root / "keep/setuid", "security.capability", CAPABILITY)
    os.setxattr(root / "keep", "system.posix_acl_default", ACL)
    os.setxattr(root / "keep/one", "system.posix_acl_access", ACL)
    put(root / "keep/inherits")
    os.utime(root / "keep/f", ns=(T, -(10**18)))
    root.chmod(0o1770)


def deletions(root: Path) -> None:
    shutil.rmtree(root / "gone")
    put(root / "gone.not")
    shutil.rmtree(root / "to-file")
    put(root / "to-file", "now a file")
    (root / "to-dir").unlink()
    put(root / "to-dir/.wh.x/f", "now a directory")
    put(root / "to-dir/.wh.y", "no whiteout")
    shutil.rmtree(root / "replaced")
    put(root / "replaced/new/nested/f")
    (root / "keep/null").unlink()
    os.mknod(root / "keep/null", 0o20666, os.makedev(1, 5))
    os.setxattr(renewed(root / "keep/f"), "user.note", b"other")
    os.removexattr(renewed(root / "keep/setuid"), "security.capability")
    os.link(root / "keep/one", root / "replaced/new/four")
    os.utime(root, ns=(T, T))


def returns(root: Path) -> None:
    put(root / "gone/deep", "was a directory")
    shutil.rmtree(root / "to-dir")
    (root / "to-dir").symlink_to("to-file")
    (root / "to-file").unlink()
    put(root / "to-file/a", "was a directory")
    shutil.rmtree(root / "replaced/new")
    put(root / "replaced/in/f", "again")
    put(root / "keep/one", "linked no more")
    os.chown(root / "keep", 3, 4)


def quiet(root: Path) -> None:
    (root / "keep/fifo").unlink()
    (root / "gone/deep").unlink()


LAYERS = (base, deletions, returns, quiet)


def copied(parent: Path | None, child: Path) -> None:
    _run("cp", "-a", parent, child) if parent else child.mkdir()


def hard_linked(parent: Path | None, child: Path) -> None:
    _run("cp", "-al", parent, child) if parent else child.mkdir()


def snapshot(parent: Path | None, child: Path) -> None:
    _run("btrfs", "-q", "subvolume", *(("snapshot", parent) if parent else ("create",)), child)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def complete_trees(directory: Path, copy: Callable[[Path | None, Path], None]) -> list[Path]:
    """The trees of `LAYERS`, as a driver keeps them that copies the parent's."""
    trees = [directory / str(number) for number in range(len(LAYERS))]
    for parent, tree, change in zip([None, *trees], trees, LAYERS, strict=False):
        copy(parent, tree)
        change(tree)
    return trees


def sources(trees: Sequence[Path], **how: bool) -> list[OwnFiles]:
    first, *others = trees
    pairs = zip(others, trees, strict=False)
    return [OwnFiles("tree", first), *(OwnFiles("compare", a, b, **how) for a, b in pairs)]


def built(layers: Sequence[OwnFiles], target: Path, transfer: Transfer) -> list[Path]:
    """Directories of overlay2, the uppermost first."""
    target.mkdir()
    for number, source in enumerate(layers):
        build(source, target / str(number), transfer)
    return [target / str(number) for number in reversed(range(len(layers)))]


@pytest.mark.parametrize("transfer", Transfer)
@pytest.mark.parametrize("copy", [copied, hard_linked])
def test_complete_trees(
    copy: Callable[[Path | None, Path], None], transfer: Transfer, tmp_path: Path
) -> None:
    trees = complete_trees(tmp_path, copy)
    before = [seen(tree) for tree in trees]
    layers = built(sources(trees), tmp_path / "overlay2", transfer)
    for number, tree in enumerate(before):
        with stacked(layers[-number - 1 :], tmp_path / "mount") as view:
            assert seen(view) == tree
    assert [seen(tree) for tree in trees] == before


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    image, target = tmp_path / "image", tmp_path / "btrfs"
    target.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    _run("mkfs.btrfs", "-q", image)
    _run("mount", "-o", "loop", image, target)
    try:
        yield target
    finally:
        _run("umount", target)


def test_snapshots(btrfs: Path, tmp_path: Path) -> None:
    trees = complete_trees(btrfs, snapshot)
    changed = trees[-1] / "keep/f"
    status = changed.stat()
    changed.write_text("keep/g")
    os.utime(changed, ns=(T, status.st_mtime_ns))
    layers = built(sources(trees), btrfs / "overlay2", Transfer.LINK)
    with stacked(layers, tmp_path / "mount") as view:
        assert seen(view) == seen(trees[-1])


def test_the_way_is_found_by_trying(btrfs: Path, tmp_path: Path, source: Path) -> None:
    for subvolume in ("one", "other"):
        snapshot(None, btrfs / subvolume)
    put(btrfs / "one/directory/f", "x" * 5000)
    put(source / "directory/f")
    targets = {"link": source, "reflink": btrfs / "other", "copy": tmp_path / "elsewhere"}
    targets["copy"].mkdir()
    transfers = {
        (btrfs / "one", btrfs / "one"): (Transfer.LINK, Transfer.REFLINK),
        (btrfs / "one", btrfs / "other"): (Transfer.REFLINK, Transfer.REFLINK),
        (source, tmp_path): (Transfer.LINK, Transfer.COPY),
        (source, btrfs): (Transfer.COPY, Transfer.COPY),
        (targets["copy"], tmp_path): (Transfer.COPY, Transfer.COPY),
    }
    for (from_, to), expected in transfers.items():
        before = seen(to)
        assert (choose_transfer(from_, to), choose_transfer(from_, to, links=False)) == expected
        assert seen(to).keys() == before.keys()
    assert build(OwnFiles("tree", btrfs / "one"), btrfs / "built", Transfer.LINK).reflinked == 5000


def branches(directory: Path) -> list[Path]:
    """A stack of aufs branches, the uppermost last."""
    put(directory / "0/.wh..wh.aufs")
    base(directory / "0")
    top = directory / "1"
    for marker in (".wh.gone", "keep/.wh.null", "replaced/.wh..wh..opq", "new/.wh.nothing"):
        put(top / marker)
    put(top / "replaced/new/.wh..wh..opq")
    put(top / "replaced/new/f", "linked")
    os.link(top / "replaced/new/f", top / "keep/again")
    put(top / "to-dir/f")
    put(top / "to-file")
    top = directory / "2"
    put(top / "gone/deep/.wh.f")
    put(top / "gone/deep/back")
    put(top / "to-dir")
    put(top / "to-file/f")
    put(top / "to-file/.wh.a")
    put(top / "replaced/new/.wh.f")
    put(top / "replaced/new/.wh..wh.odd")
    top.chmod(0o700)
    put(directory / "3/keep/.wh..wh..opq")
    put(directory / "4/.wh..wh..opq")
    put(directory / "4/keep/last")
    return [directory / str(number) for number in range(5)]


def test_aufs_branches(tmp_path: Path) -> None:
    stack = branches(tmp_path)
    check_branches(stack, tmp_path / "overlay2")


def check_branches(stack: Sequence[Path], target: Path) -> None:
    layers = built(
        [
            OwnFiles("aufs", branch, branches=tuple(stack[:number][::-1]))
            for number, branch in enumerate(stack)
        ],
        target,
        Transfer.LINK,
    )
    for number in range(len(stack)):
        with stacked(layers[-number - 1 :], target / "mount") as view:
            assert seen(view) == aufs_seen(stack[number::-1])


LEAVES = st.fixed_dictionaries(
    {
        "content": st.sampled_from(["x", "y"]),
        "mode": st.sampled_from([0o644, 0o4755]),
        "time": st.sampled_from([T, T + 1]),
        "kind": st.sampled_from(["file", "file", "link", "fifo"]),
        "note": st.sampled_from([None, b"1"]),
    }
)


def trees_of(names: Sequence[str], markers: Sequence[str] = ()) -> st.SearchStrategy[Any]:
    """Nested dictionaries; what is no dictionary is a leaf, a marker an empty one."""

    def directory(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        marked = st.dictionaries(st.sampled_from(markers or ["-"]), st.just({"kind": "file"}))
        named = st.dictionaries(st.sampled_from(names), children, max_size=3)
        return st.tuples(named, marked if markers else st.just({})).map(lambda d: ("dir", d))

    return directory(st.recursive(LEAVES, directory, max_leaves=8))


def make(tree: Any, path: Path) -> Path:
    if isinstance(tree, tuple):
        path.mkdir()
        for names in tree[1]:
            for name, child in names.items():
                make(child, path / name)
    elif tree["kind"] == "file":
        put(path, tree.get("content", ""), tree.get("mode", 0o444))
        if tree.get("note"):
            os.setxattr(path, "user.note", tree["note"])
    elif tree["kind"] == "link":
        path.symlink_to(tree["content"])
    else:
        os.mkfifo(path)
    times = (T, T if isinstance(tree, tuple) else tree.get("time", T))
    os.utime(path, ns=times, follow_symlinks=False)
    return path


quickly = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@quickly
@given(st.lists(trees_of(["a", "b", ".wh.a"]), min_size=2, max_size=3))
def test_any_trees(tmp_path_factory: pytest.TempPathFactory, stack: list[Any]) -> None:
    directory = tmp_path_factory.mktemp("trees")
    trees = [make(tree, directory / str(number)) for number, tree in enumerate(stack)]
    layers = built(sources(trees), directory / "overlay2", Transfer.LINK)
    with stacked(layers, directory / "mount") as view:
        assert seen(view) == seen(trees[-1])


@quickly
@given(st.lists(trees_of(["a", "b"], [".wh.a", ".wh..wh..opq"]), min_size=2, max_size=3))
def test_any_branches(tmp_path_factory: pytest.TempPathFactory, stack: list[Any]) -> None:
    directory = tmp_path_factory.mktemp("branches")
    trees = [make(tree, directory / str(number)) for number, tree in enumerate(stack)]
    check_branches(trees, directory / "overlay2")


def test_a_container_of_overlay_shows_the_same(tmp_path: Path) -> None:
    """Its upper directory on the image's tree, and on its init layer's and the image's files."""
    image = tmp_path / "image"
    image.mkdir()
    base(image)
    put(image / "etc/passwd")
    init, upper, target = tmp_path / "init", tmp_path / "upper", tmp_path / "overlay2"
    init.mkdir()
    target.mkdir()
    with stacked([image], tmp_path / "mount", init) as view:
        put(view / "etc/hosts")
        for name in ("dev/console", "mnt/f"):
            put(view / name)
    copied(init, upper)
    with stacked([image], tmp_path / "mount", upper) as view:
        shutil.rmtree(view / "etc")
        put(view / "etc/only")
        (view / "mnt/f").unlink()
        deletions(view)
        (view / "keep").rename(view / "kept")
        expected = seen(view)
    build(OwnFiles("tree", image), target / "image", Transfer.LINK)
    build(OwnFiles("overlay", init), target / "init", Transfer.COPY)
    build(OwnFiles("overlay", upper, init), target / "upper", Transfer.COPY)
    assert not os.path.lexists(target / "upper/dev")
    layers = [target / name for name in ("upper", "init", "image")]
    with stacked(layers, tmp_path / "mount") as view:
        assert seen(view) == expected


def test_a_directory_that_is_opaque_in_both_layers_joins(source: Path, tmp_path: Path) -> None:
    put(source / "d/same")
    os.setxattr(source / "d", OPAQUE, b"y")
    copied(source, tmp_path / "init")
    put(source / "d/own")
    build(OwnFiles("overlay", source, tmp_path / "init"), tmp_path / "diff", Transfer.COPY)
    with stacked([tmp_path / "diff", tmp_path / "init"], tmp_path / "mount") as view:
        assert seen(view) == seen(source)
    assert not (tmp_path / "diff/d/same").exists()


@pytest.mark.parametrize("transfer", Transfer)
def test_hard_links_and_what_is_counted(transfer: Transfer, source: Path, tmp_path: Path) -> None:
    put(source / "a/one", "four")
    for name in ("a/two", "b"):
        os.link(source / "a/one", source / name)
    (source / "link").symlink_to("a")
    os.link(source / "link", source / "a/link", follow_symlinks=False)
    progress: list[int] = []
    result = build(OwnFiles("tree", source), tmp_path / "diff", transfer, progress=progress.append)
    amount = {"linked": 12} if transfer is Transfer.LINK else {"copied": 4}
    assert result == Built(files=5, directories=1, **amount)
    assert sum(progress) == 12
    for name, other in (("a/one", "b"), ("a/one", "a/two"), ("link", "a/link")):
        one, two = ((tmp_path / "diff" / path).lstat() for path in (name, other))
        assert one.st_ino == two.st_ino
    shared = (source / "b").samefile(tmp_path / "diff/b")
    assert shared is (transfer is Transfer.LINK)


def test_files_that_cannot_be_linked_are_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(source / "a", "content", 0o6755)
    os.link(source / "a", source / "b")
    put(source / "c")
    expected = seen(source)
    link = os.link
    inode = (source / "a").stat().st_ino

    def refuse(name: bytes, target: bytes, *, src_dir_fd: int, **how: Any) -> None:
        if os.stat(name, dir_fd=src_dir_fd).st_ino == inode:
            raise OSError(errno.EMLINK, "too many")
        link(name, target, src_dir_fd=src_dir_fd, **how)

    monkeypatch.setattr(os, "link", refuse)
    result = build(OwnFiles("tree", source), tmp_path / "diff", Transfer.LINK)
    assert (result.linked, result.copied) == (1, 7)
    assert seen(tmp_path / "diff") == expected
    assert (tmp_path / "diff/a").samefile(tmp_path / "diff/b")


def test_holes_stay_holes(source: Path, tmp_path: Path) -> None:
    with (source / "sparse").open("wb") as file:
        for offset in (3 << 20, 9 << 20):
            file.seek(offset)
            file.write(b"x" * 5000)
        file.truncate(1 << 30)
    with (source / "hole").open("wb") as file:
        file.truncate(1 << 30)
    build(OwnFiles("tree", source), tmp_path / "diff", Transfer.COPY)
    for name in ("sparse", "hole"):
        before, after = (source / name).stat(), (tmp_path / "diff" / name).stat()
        assert (after.st_size, after.st_blocks) == (before.st_size, before.st_blocks)
    with (source / "sparse").open("rb") as one, (tmp_path / "diff/sparse").open("rb") as other:
        assert one.read(10 << 20) == other.read(10 << 20)


def test_what_a_record_names_is_in_the_directory(source: Path, tmp_path: Path) -> None:
    put(source / "d/f")
    copied(source, tmp_path / "parent")
    record = tmp_path / "record"
    record.write_bytes(pack(file_line("d/f", b"x")))
    compared = OwnFiles("compare", source, tmp_path / "parent")
    build(compared, tmp_path / "without", Transfer.LINK)
    build(compared, tmp_path / "with", Transfer.LINK, RecordPaths(source, record))
    assert set(seen(tmp_path / "without")) == {b""}
    assert seen(tmp_path / "with") == seen(source)


@pytest.mark.parametrize("name", ["opaque", "redirect", "metacopy", "whiteout"])
@pytest.mark.parametrize("transfer", Transfer)
def test_attributes_of_overlayfs_cannot_be_in_overlay2(
    transfer: Transfer, name: str, source: Path, tmp_path: Path
) -> None:
    os.setxattr(put(source / "d/f"), "trusted.overlay.origin", b"a note")
    build(OwnFiles("tree", source), tmp_path / "noted", transfer)
    os.setxattr(source / "d/f", f"trusted.overlay.{name}", b"y")
    with pytest.raises(LayerError, match=f"d/f: .*{name}"):
        build(OwnFiles("tree", source), tmp_path / "diff", transfer)


def test_a_device_0_0_cannot_be_in_overlay2(source: Path, tmp_path: Path) -> None:
    os.mknod(put(source / "d/f").with_name("g"), 0o20666, os.makedev(0, 0))
    with pytest.raises(LayerError, match="d/g: is a device 0/0"):
        build(OwnFiles("tree", source), tmp_path / "diff", Transfer.LINK)


def test_default_acls_around_do_not_get_in(source: Path, tmp_path: Path) -> None:
    put(source / "d/f")
    expected = seen(source)
    os.setxattr(tmp_path, "system.posix_acl_default", ACL)
    build(OwnFiles("tree", source), tmp_path / "diff", Transfer.COPY)
    assert seen(tmp_path / "diff") == expected


def test_trees_deeper_than_any_path_is_long(source: Path, tmp_path: Path) -> None:
    at = os.open(source, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("n" * 200, dir_fd=at)
        below = os.open("n" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.link("f", "g", src_dir_fd=at, dst_dir_fd=at)
    os.close(at)
    for transfer in (Transfer.LINK, Transfer.COPY):
        result = build(OwnFiles("tree", source), tmp_path / transfer.name, transfer)
        assert (result.directories, result.files) == (40, 2)
        assert fingerprint(tmp_path / transfer.name) == fingerprint(source)


@pytest.mark.parametrize("transfer", [Transfer.LINK, Transfer.COPY])
def test_a_disk_that_is_full_at_any_time(
    transfer: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = branches(tmp_path)
    layer = OwnFiles("aufs", stack[1], branches=(stack[0],))
    before = [seen(branch) for branch in stack]
    happened: list[tuple[str, Path]] = []
    monkeypatch.setattr(disk, "hook", lambda name, path: happened.append((name, path)))
    build(layer, tmp_path / "diff", transfer)
    kinds = {name for name, _ in happened}
    assert {"mkdir", "link", "mknod", "set metadata"} <= kinds
    assert transfer is Transfer.LINK or {"create", "write"} <= kinds
    assert all(path.is_relative_to(tmp_path / "diff") for _, path in happened)

    def fail(name: str, path: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(disk, "hook", fail)
    for number in range(1, len(happened) + 1):
        left = number
        with pytest.raises(StoreError, match="disk is full"):
            build(layer, tmp_path / f"diff{number}", transfer)
    assert [seen(branch) for branch in stack] == before


def test_nothing_is_built_over_something(source: Path, tmp_path: Path) -> None:
    (tmp_path / "diff").symlink_to(source)
    with pytest.raises(StoreError, match="exists"):
        build(OwnFiles("tree", source), tmp_path / "diff", Transfer.LINK)


@pytest.mark.parametrize(
    "alter",
    [
        lambda root: put(root / "d/f", "longer"),
        lambda root: (root / "d").chmod(0o700),
        lambda root: root.chmod(0o700),
        lambda root: os.chown(root / "d/f", 1, -1),
        lambda root: os.utime(root / "d/f", ns=(T, T + 1)),
        lambda root: os.utime(root / "d", ns=(T, T + 1)),
        lambda root: os.setxattr(root / "d", OPAQUE, b"y"),
        lambda root: (root / "d/f").rename(root / "d/g"),
        lambda root: (root / "d/f").unlink(),
        lambda root: ((root / "l").unlink(), (root / "l").symlink_to("g")),
    ],
)
def test_a_fingerprint_tells_every_change(
    alter: Callable[[Path], object], source: Path, tmp_path: Path
) -> None:
    put(source / "d/f")
    (source / "l").symlink_to("f")
    for name in ("d/f", "d", "l"):
        os.utime(source / name, ns=(T, T), follow_symlinks=False)
    copied(source, tmp_path / "copy")
    before = fingerprint(source)
    assert len(before) == 64
    os.link(source / "d/f", tmp_path / "linked")
    assert fingerprint(source) == before == fingerprint(tmp_path / "copy")
    alter(source)
    assert fingerprint(source) != before


def test_a_fingerprint_of_a_link_is_about_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    before = fingerprint(tmp_path / "link")
    put(tmp_path / "nowhere/f")
    assert fingerprint(tmp_path / "link") == before
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("elsewhere")
    assert fingerprint(tmp_path / "link") != before
    with pytest.raises(LayerError, match="cannot be read"):
        fingerprint(tmp_path / "missing")
