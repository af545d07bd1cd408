"""A layer's own files, as each kind of source tells them: one small layer at a time."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator import drivers
from migrator.errors import LayerError
from migrator.layer.recordpaths import RecordPaths
from migrator.tree.ownfiles import OwnFiles, OwnKind
from tests.stores.hostile import file_line, pack
from tests.stores.stacked import stacked

T = 1_400_000_000 * 10**9
LETTERS = {OwnKind.ENTRY: "+", OwnKind.OPAQUE: "o", OwnKind.WHITEOUT: "-"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return tmp_path / "old"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


def put(path: Path, content: str = "x", mtime_ns: int = T) -> Path:
    """A file; the directories around it get the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(T, mtime_ns))
    for directory in list(path.parents)[:3]:
        os.utime(directory, ns=(T, T))
    return path


def listed(source: OwnFiles, record: Path | None = None) -> str:
    required = RecordPaths(source.root, record) if record else None
    return " ".join(LETTERS[kind] + os.fsdecode(path) for path, kind in source.entries(required))


def compared(new: Path, old: Path, record: Path | None = None, **how: bool) -> str:
    return listed(OwnFiles("compare", new, old, **how), record)


def recorded(path: Path, *names: str) -> Path:
    path.write_bytes(pack(*(file_line(name, b"x") for name in names)))
    return path


def test_a_description_can_be_sent_to_another_process(new: Path, old: Path) -> None:
    put(new / "f")
    source = pickle.loads(pickle.dumps(OwnFiles("compare", new, old)))
    assert list(source) == [(b"f", OwnKind.ENTRY)]


def test_a_tree_is_all_its_own(new: Path) -> None:
    for name in ("b", "a/c/.wh.d", "a/b", "a.b"):
        put(new / name)
    assert listed(OwnFiles("tree", new)) == "+a +a/b +a/c +a/c/.wh.d +a.b +b"


def test_directories_are_listed_above_what_differs_and_only_there(new: Path, old: Path) -> None:
    for root in (new, old):
        put(root / "a/same/f")
        put(root / "a/b/f")
        put(root / "z/f")
    put(new / "a/b/added/f")
    put(old / "z/gone/f")
    assert compared(new, old) == "+a +a/b +a/b/added +a/b/added/f +z -z/gone"


def test_between_files_and_directories(new: Path, old: Path) -> None:
    put(old / "to-file/f/g")
    put(new / "to-file")
    put(old / "to-directory")
    put(new / "to-directory/f")
    put(old / "to-link/f")
    (new / "to-link").symlink_to("elsewhere")
    assert compared(new, old) == "+to-directory +to-directory/f +to-file +to-link"


@pytest.mark.parametrize(
    "alter",
    [
        lambda path: path.chmod(0o4755),
        lambda path: os.chown(path, 1, -1),
        lambda path: os.chown(path, -1, 1),
        lambda path: put(path, "longer"),
        lambda path: os.utime(path, ns=(T, T + 1)),
        lambda path: os.utime(path, ns=(T, T + 10**9)),
        lambda path: put(path, "y"),
        lambda path: os.setxattr(path, "user.note", b"1"),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.symlink_to("x")),
    ],
)
@pytest.mark.root
def test_every_difference_counts(alter: Callable[[Path], object], new: Path, old: Path) -> None:
    for root in (new, old):
        put(root / "f")
    assert compared(new, old) == ""
    alter(new / "f")
    assert compared(new, old) == "+f"
    assert compared(old, new) == "+f"


@pytest.mark.root
def test_link_targets_and_device_numbers_count(new: Path, old: Path) -> None:
    for root, target, device in ((new, "a", 1), (old, "b", 2)):
        (root / "link").symlink_to(target)
        os.mknod(root / "null", 0o20666, os.makedev(1, device))
        for name in ("link", "null"):
            os.utime(root / name, ns=(T, T), follow_symlinks=False)
    assert compared(new, old) == "+link +null"


def test_times_that_a_driver_does_not_keep(new: Path, old: Path) -> None:
    for root in (new, old):
        put(root / "d/f")
        put(root / "d/g", mtime_ns=T + 1)
    os.utime(new / "d", ns=(T, T + 5 * 10**9))
    os.utime(new / "d/f", ns=(T, T + 5))
    os.utime(new / "d/g", ns=(T, T + 2))
    assert compared(new, old) == "+d +d/f +d/g"
    assert compared(new, old, directory_times=False, nanoseconds=False) == "+d +d/g"
    os.utime(new / "d/g", ns=(T, T + 1))
    assert compared(new, old, directory_times=False, nanoseconds=False) == ""


def test_what_a_record_names_is_there_even_if_it_is_the_same(
    new: Path, old: Path, tmp_path
) -> None:
    put(old / "d/linked")
    (new / "d").mkdir()
    os.link(old / "d/linked", new / "d/linked")
    for root in (new, old):
        put(root / "d/copied")
        put(root / "d/other")
    os.utime(new / "d", ns=(T, T))
    record = recorded(tmp_path / "record", "d/linked", "./d/copied", "d/missing", "../../d/x")
    assert compared(new, old, record) == "+d +d/copied +d/linked"


def test_a_record_may_lead_through_links(new: Path, old: Path, tmp_path: Path) -> None:
    for root in (new, old):
        put(root / "real/f")
        put(root / "real/g")
        (root / "a").mkdir()
        for path, target in (("a/link", "/real"), ("loop", "loop"), ("file", "a/link/g")):
            (root / path).symlink_to(target)
            os.utime(root / path, ns=(T, T), follow_symlinks=False)
        os.utime(root / "a", ns=(T, T))
    record = recorded(tmp_path / "record", "a/link/f", "loop/x", "file", "a/link/../../out")
    assert compared(new, old, record) == "+a +a/link +file +loop +real +real/f +real/g"


def test_an_aufs_branch(new: Path, old: Path) -> None:
    put(old / "merged/gone")
    put(old / "opaque/gone")
    for name in (
        ".wh..wh.aufs",
        ".wh..wh.plnk/12.34",
        ".wh.top",
        ".wh..",
        ".wh...",
        "merged/.wh.gone",
        "merged/.wh.deep",
        "opaque/.wh..wh..opq",
        "opaque/.wh.gone",
        "opaque/inner/.wh.x",
        "new/.wh.x",
        "both/f",
        ".wh.both",
    ):
        put(new / name)
    source = OwnFiles("aufs", new, branches=(old,))
    assert listed(source) == (
        "oboth +both/f +merged -merged/deep -merged/gone +new oopaque +opaque/inner -top"
    )
    bottom = OwnFiles("aufs", new)
    assert listed(bottom) == "oboth +both/f +merged +new oopaque +opaque/inner"


def test_an_opaque_branch_hides_all_that_is_below(new: Path, old: Path, tmp_path: Path) -> None:
    put(new / ".wh..wh..opq")
    put(new / "d/f")
    put(old / "d/g")
    put(old / "x/.wh.f")
    put(tmp_path / "lowest/y")
    put(tmp_path / "lowest/.wh..wh.aufs")
    source = OwnFiles("aufs", new, branches=(old, tmp_path / "lowest"))
    assert listed(source) == "od +d/f -x -y"


@pytest.mark.parametrize("hidden", [".wh.d", "d/.wh.e", "d/.wh..wh..opq", "d", "d/e"])
def test_no_whiteout_where_nothing_shows_through(
    hidden: str, new: Path, old: Path, tmp_path: Path
) -> None:
    """overlayfs would show it as a name."""
    put(new / "d/e/.wh.f")
    put(tmp_path / "lowest/d/e/f")
    assert listed(OwnFiles("aufs", new, branches=(old, tmp_path / "lowest"))).endswith("-d/e/f")
    put(old / hidden)
    assert listed(OwnFiles("aufs", new, branches=(old, tmp_path / "lowest"))) == "+d +d/e"


def test_a_record_names_content_that_aufs_does_not_show(
    new: Path, old: Path, tmp_path: Path
) -> None:
    put(new / ".wh..wh.plnk/1.2")
    put(new / "d/.wh.x")
    (old / "d").mkdir()
    record = recorded(tmp_path / "record", ".wh..wh.plnk/1.2", "d/.wh.x")
    source = OwnFiles("aufs", new, branches=(old,))
    assert listed(source, record) == "+.wh..wh.plnk +.wh..wh.plnk/1.2 +d +d/.wh.x -d/x"


def test_aufs_takes_the_branches_from_its_list(tmp_path: Path) -> None:
    ids = ["a" * 64, "b" * 64, "c" * 64 + "-init"]
    driver = drivers.get("aufs", tmp_path)
    put(tmp_path / "aufs/layers" / ids[0], f"{ids[1]}\n{ids[2]}\n\n")
    diff = tmp_path / "aufs/diff"
    assert driver.own_files(ids[0], ids[1]).branches == (diff / ids[1], diff / ids[2])
    with pytest.raises(LayerError, match="gone"):
        driver.own_files(ids[1], ids[2])
    put(tmp_path / "aufs/layers" / ids[0], "../../etc\n")
    with pytest.raises(LayerError, match="no layer"):
        driver.own_files(ids[0], ids[1])


def test_a_container_of_aufs(tmp_path: Path) -> None:
    """What its branch repeats of its init layer's is not its own; what it lacks is still there."""
    layer, init = "a" * 64, "a" * 64 + "-init"
    put(tmp_path / "aufs/layers" / layer, f"{init}\n")
    branch, below = tmp_path / "aufs/diff" / layer, tmp_path / "aufs/diff" / init
    for name in ("etc/hosts", "etc/mtab", "etc/resolv.conf", "dev/console", "run/.wh..wh..opq"):
        put(below / name)
    for name in ("etc/mtab", "etc/.wh.resolv.conf", "dev/console", "run/pid"):
        put(branch / name)
    put(branch / "etc/hosts", "changed")
    driver = drivers.get("aufs", tmp_path)
    own = listed(driver.writable_files(layer, init))
    assert own == "+etc +etc/hosts -etc/resolv.conf +run +run/pid"


@pytest.mark.root
def test_a_container_of_overlay(tmp_path: Path) -> None:
    """What the kernel left in an upper directory that began as a copy of the init layer's."""
    image = tmp_path / "overlay/image/root"
    for name in ("etc/hosts", "etc/gone", "var/old", "tree/a/b"):
        put(image / name)
    init = tmp_path / "overlay/container-init/upper"
    for name in ("etc/hosts", "etc/mtab", "dev/console", "dev/shm/f"):
        put(init / name, "init")
    upper = tmp_path / "overlay/container/upper"
    shutil.copytree(init, upper)
    os.utime(upper / "dev", ns=(T, T + 1))
    with stacked([image], tmp_path / "mount", upper) as view:
        put(view / "etc/hosts", "changed")
        for name in ("etc/gone", "etc/mtab", "var/old"):
            (view / name).unlink()
        shutil.rmtree(view / "tree")
        put(view / "tree/a/new")
    driver = drivers.get("overlay", tmp_path)
    own = listed(driver.writable_files("container", "container-init"))
    assert own == "+etc -etc/gone +etc/hosts -etc/mtab otree +tree/a +tree/a/new +var -var/old"
    shown = "+dev +dev/console +dev/shm +dev/shm/f +etc +etc/hosts +etc/mtab"
    assert listed(driver.writable_files("container-init", "image")) == shown


@pytest.mark.root
def test_a_directory_that_a_container_has_renamed(new: Path, old: Path) -> None:
    for root in (new, old):
        put(root / "d/same")
    put(old / "d/gone")
    os.setxattr(new / "d", "trusted.overlay.redirect", b"/elsewhere")
    assert listed(OwnFiles("overlay", new, old)) == "+d +d/same"


def test_a_container_cannot_bring_back_what_its_init_layer_deleted(new: Path, old: Path) -> None:
    os.mknod(old / "f", 0o20000, os.makedev(0, 0))
    with pytest.raises(LayerError, match="f: is hidden"):
        listed(OwnFiles("overlay", new, old))


@pytest.mark.root
def test_a_layer_of_overlay2(tmp_path: Path) -> None:
    diff = tmp_path / "overlay2/layer/diff"
    put(diff / "opaque/f")
    os.setxattr(diff / "opaque", "trusted.overlay.opaque", b"y")
    os.mknod(diff / "gone", 0o20000, os.makedev(0, 0))
    os.mknod(diff / "opaque/ghost", 0o20000, os.makedev(0, 0))
    os.mknod(diff / "null", 0o20666, os.makedev(1, 3))
    own = drivers.get("overlay2", tmp_path).own_files("layer", "parent")
    assert listed(own) == "-gone +null oopaque +opaque/f"


@pytest.mark.parametrize("kind", ["tree", "aufs", "overlay"])
def test_a_source_that_is_gone_is_an_error(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="missing"):
        listed(OwnFiles(kind, tmp_path / "missing"))
