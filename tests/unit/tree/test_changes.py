"""Which entries a layer has, and in which order: Docker's rules, one small tree at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.errors import LayerError
from migrator.tree import descent
from migrator.tree.changes import ChangeList, branch, compare, tree, whiteout_of

T = 1_400_000_000 * 10**9
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return tmp_path / "old"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


def put(path: Path, content: str = "x", mtime_ns: int = T) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(T, mtime_ns))
    return path


def shown(changes: ChangeList) -> list[str]:
    return [f"{kind.value} {os.fsdecode(path)}" for path, kind in changes]


def test_equal_trees_have_no_changes(new: Path, old: Path) -> None:
    for root in (new, old):
        put(root / "d/f")
        (root / "d/l").symlink_to("f")
        os.utime(root / "d/l", ns=(T, T), follow_symlinks=False)
    os.utime(new / "d", ns=(T, T))
    os.utime(new, ns=(T, T))
    assert shown(compare(new, old)) == []


@pytest.mark.parametrize(
    "alter",
    [
        lambda path: path.chmod(0o4755),
        lambda path: os.chown(path, 1, -1),
        lambda path: os.chown(path, -1, 1),
        lambda path: put(path, "longer"),
        lambda path: os.utime(path, ns=(T, T + 10**9)),
        lambda path: os.setxattr(path, "security.capability", CAPABILITY),
    ],
    ids=["mode", "uid", "gid", "size", "mtime", "capability"],
)
@pytest.mark.root
def test_what_makes_a_file_changed(alter: Callable[[Path], object], new: Path, old: Path) -> None:
    for root in (new, old):
        put(root / "d/f")
    alter(new / "d/f")
    assert shown(compare(new, old)) == ["C d", "C d/f"]


def test_other_attributes_and_equal_looking_content_are_no_change(new: Path, old: Path) -> None:
    put(old / "f", "abc")
    os.setxattr(put(new / "f", "xyz"), "user.any", b"1")
    assert shown(compare(new, old)) == []


@pytest.mark.parametrize(
    ("nanoseconds", "changed"), [((0, 5), False), ((5, 0), False), ((5, 5), False), ((5, 6), True)]
)
def test_whole_seconds_equal_any_fraction(
    nanoseconds: tuple[int, int], changed: bool, new: Path, old: Path
) -> None:
    put(new / "f", mtime_ns=T + nanoseconds[0])
    put(old / "f", mtime_ns=T + nanoseconds[1])
    assert bool(shown(compare(new, old))) is changed


@pytest.mark.root
def test_device_numbers_count(new: Path, old: Path) -> None:
    for root, minor in ((new, 3), (old, 5)):
        os.mknod(root / "null", 0o20666, os.makedev(1, minor))
        os.utime(root / "null", ns=(T, T))
    assert shown(compare(new, old)) == ["C null"]


@pytest.mark.root
def test_times_of_sockets_and_block_devices_do_not_count(new: Path, old: Path) -> None:
    for root, mtime_ns in ((new, T), (old, 2 * T)):
        os.mknod(root / "disk", 0o60660, os.makedev(7, 1))
        os.mknod(root / "socket", 0o140666)
        for name in ("disk", "socket"):
            os.utime(root / name, ns=(T, mtime_ns))
    assert shown(compare(new, old)) == []


def test_one_inode_is_not_looked_at_again(new: Path, old: Path) -> None:
    put(old / "d/f")
    (new / "d").mkdir()
    os.link(old / "d/f", new / "d/f")
    put(old / "d/copied", "a")
    put(new / "d/copied", "aa")
    assert shown(compare(new, old)) == ["C d", "C d/copied"]
    assert shown(compare(old, old)) == []


def test_added_and_deleted_subtrees(new: Path, old: Path) -> None:
    put(old / "gone/a/b")
    put(new / "come/a/b")
    put(old / "both/gone")
    (new / "both").mkdir()
    assert shown(compare(new, old)) == [
        "C both",
        "D both/gone",
        "A come",
        "A come/a",
        "A come/a/b",
        "D gone",
    ]


def test_directories_above_a_change_are_listed_the_root_is_not(new: Path, old: Path) -> None:
    for root in (new, old):
        put(root / "a/b/c/f")
        put(root / "a/other/f")
    (new / "a/b/c").chmod(0o700)
    put(new / "a/b/c/more")
    new.chmod(0o700)
    assert shown(compare(new, old)) == ["C a", "C a/b", "C a/b/c", "A a/b/c/more"]


def test_order_is_that_of_whole_paths(new: Path, old: Path) -> None:
    put(new / "a/b")
    put(new / "a.b")
    put(new / os.fsdecode(b"a\xff"))
    put(new / "a\U00010000")
    put(new / "a\uffff")
    paths = [path for path, _ in compare(new, old)]
    assert paths == sorted(paths)
    assert paths == [b"a", b"a.b", b"a/b", b"a\xef\xbf\xbf", b"a\xf0\x90\x80\x80", b"a\xff"]


def test_from_directory_to_something_else_and_back(new: Path, old: Path) -> None:
    put(old / "was-directory/f")
    put(new / "was-directory")
    put(old / "is-directory")
    put(new / "is-directory/f")
    (new / "link").symlink_to("is-directory")
    put(old / "link/f")
    assert shown(compare(new, old)) == [
        "C is-directory",
        "A is-directory/f",
        "C link",
        "C was-directory",
    ]


@pytest.mark.root
def test_from_directory_to_socket_or_block_device(new: Path, old: Path) -> None:
    """Docker takes these two for directories here and deletes what was inside."""
    for name in ("disk", "socket"):
        put(old / name / "a/b")
        put(old / name / "c")
    os.mknod(new / "disk", 0o60660, os.makedev(7, 1))
    os.mknod(new / "socket", 0o140666)
    assert shown(compare(new, old)) == [
        "C disk",
        "D disk/a",
        "D disk/c",
        "C socket",
        "D socket/a",
        "D socket/c",
    ]


def test_a_tree_is_walked_directory_by_directory(new: Path) -> None:
    for name in ("a/b", "a/c/d", "a.b", "b"):
        put(new / name)
    (new / "link").symlink_to("a")
    assert [path for path, _ in tree(new)] == [
        b"a",
        b"a/b",
        b"a/c",
        b"a/c/d",
        b"a.b",
        b"b",
        b"link",
    ]


def test_a_branch_leaves_out_what_aufs_keeps_for_itself(new: Path) -> None:
    for name in (
        ".wh..wh.aufs",
        ".wh..wh.orph/f",
        ".wh..wh.plnk/12.34",
        ".wh..wh..opq",
        ".wh.gone",
        "d/.wh..wh..opq",
        "d/.wh..wh.aufs",
        "d/.wh.x",
    ):
        put(new / name)
    assert [path for path, _ in branch(new)] == [
        b".wh..wh..opq",
        b".wh.gone",
        b"d",
        b"d/.wh..wh..opq",
        b"d/.wh..wh.aufs",
        b"d/.wh.x",
    ]


@pytest.mark.parametrize(("path", "whiteout"), [(b"n", b".wh.n"), (b"d/e/n", b"d/e/.wh.n")])
def test_whiteout_names(path: bytes, whiteout: bytes) -> None:
    assert whiteout_of(path) == whiteout


def test_a_file_in_place_of_a_whiteout_is_found(new: Path, old: Path) -> None:
    put(old / "d/x")
    put(new / "d/.wh.x")
    assert compare(new, old).clashing_whiteout() == b"d/.wh.x"
    put(old / "d/.wh.x")
    assert compare(new, old).clashing_whiteout() is None


def nest(root: Path, name: bytes, depth: int) -> bytes:
    """`depth` directories in one another, a file in the innermost."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open(b"f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    return (name + b"/") * depth + b"f"


@pytest.mark.parametrize(("length", "depth"), [(1, 300), (255, 20)])
def test_deep_trees_and_long_paths(length: int, depth: int, new: Path, old: Path) -> None:
    deepest = nest(new, b"n" * length, depth)
    put(new / "z")
    paths = [path for path, _ in tree(new)]
    assert len(paths) == depth + 2
    assert paths[-2:] == [deepest, b"z"]
    assert [path for path, _ in compare(new, old)] == paths


def test_few_directories_stay_open(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "_MOST_OPEN", 3)
    nest(new, b"n", 40)
    before = len(os.listdir("/proc/self/fd"))
    assert {len(os.listdir("/proc/self/fd")) - before for _ in tree(new)} == {1, 2, 3}
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_moves_during_the_walk_is_an_error(
    new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descent, "_MOST_OPEN", 1)
    put(new / "a/b/f")
    (new / "c").mkdir()
    with pytest.raises(LayerError, match="moved"):
        for path, _ in tree(new):
            if path == b"a/b/f":
                (new / "a/b").rename(new / "c/b")


def test_nesting_has_a_limit(new: Path, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "MAX_PATH", 1000)
    nest(new, b"n" * 99, 12)
    with pytest.raises(LayerError, match="nested"):
        list(tree(new))
    with pytest.raises(LayerError, match="nested"):
        compare(new, old)


def test_symbolic_links_are_not_followed_not_even_at_the_root(new: Path, old: Path) -> None:
    (new / "loop").symlink_to(".")
    assert shown(compare(new, old)) == ["A loop"]
    link = new.parent / "link"
    link.symlink_to(new)
    with pytest.raises(LayerError, match="link"):
        list(tree(link))
    with pytest.raises(LayerError, match="link"):
        compare(new, link)
    with pytest.raises(LayerError, match="missing"):
        compare(new, new.parent / "missing")
