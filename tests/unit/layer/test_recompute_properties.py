"""A diff put on top of the old tree gives the new one, whatever the two hold.

Trees are built on disk, diffed, and the diff is applied by GNU tar; the
whiteouts, which tar does not know, are applied by a loop of this test's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import stat
import subprocess
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator.layer.recompute import recompute
from migrator.tree.changes import DiffSource, compare
from tests.scratch import scratch
from tests.unit.layer.tarsink import write_tar

pytestmark = pytest.mark.root

SECOND = 10**9
NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")
CHOWN = bytes.fromhex("0100000201000000000000000000000000000000")


class Node(NamedTuple):
    """Anything in a tree; `number` is a size, a device number or what a hard link points to."""

    type: str
    number: int
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    capability: bytes | None


class Placed(NamedTuple):
    """A node, where it goes (the n-th directory so far, by a name)."""

    directory: int
    name: str
    node: Node


Tree = dict[str, Node]

NAMES = ["a", "b", "c", "a.b", "a-", "A", " sp ace ", "new\nline", 'quo"te\\<&>', "é😀", "l" * 255]
NAMES += ["long" * 30, "x" * 100, os.fsdecode(b"\xff\xfe"), os.fsdecode(b"caf\xe9")]

# Owners from 2**21 on have no place here: Go then combines the GNU magic with split names,
# which Docker reads but neither GNU tar nor tarfile does.
nodes = st.builds(
    Node,
    st.sampled_from(["file"] * 4 + ["dir"] * 4 + ["link"] * 2)
    | st.sampled_from(["symlink", "fifo", "socket", "char", "block"]),
    st.sampled_from([0, 1, 7, 100, 101, 511, 512, 513, 5000]),
    st.sampled_from([0o644, 0o755, 0o4755, 0o2750, 0o1777, 0o6711, 0o000]),
    st.sampled_from([(0, 0), (1000, 100), (2**21 - 1, 5)]),
    st.sampled_from([0, 1, SECOND // 2, 1400000000 * SECOND])
    | st.sampled_from([1400000000 * SECOND + 123456789, 2273000000 * SECOND]),
    st.sampled_from([None, None, None, NET_RAW, CHOWN]),
)
placed = st.builds(Placed, st.integers(0, 20), st.sampled_from(NAMES), nodes)
TYPE_BITS = {
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
}
ALTERED = ["mode", "owner", "mtime_ns", "capability"]
FATES = ["same inode"] * 3 + ["copied"] * 3 + ["replaced"] * 2 + ["gone"] + ALTERED


def planned(items: list[Placed], tree: Tree) -> Tree:
    for directory, name, node in items:
        directories = ["", *(path + "/" for path, at in tree.items() if at.type == "dir")]
        tree.setdefault(directories[directory % len(directories)] + name, node)
    return tree


def altered(old: Tree, fates: list[tuple[str, Node]]) -> tuple[Tree, set[str]]:
    """What becomes of an old tree, and which paths keep their inode."""
    new: Tree = {}
    kept = set()
    for at, (path, node) in enumerate(old.items()):
        above = path.rpartition("/")[0]
        if above and (above not in new or new[above].type != "dir"):
            continue
        fate, other = fates[at % len(fates)]
        if fate == "gone":
            continue
        new[path] = other if fate == "replaced" else node
        if fate in ALTERED:
            new[path] = node._replace(**{fate: getattr(other, fate)})
        if fate == "same inode" and node.type != "dir":
            kept.add(path)
    return new, kept


def build(root: Path, tree: Tree, kept: set[str], old_root: Path) -> None:
    root.mkdir()
    linkable: list[Path] = []
    for path, node in tree.items():
        here = root / path
        if path in kept and os.path.lexists(old_root / path):
            os.link(old_root / path, here, follow_symlinks=False)
        elif node.type == "link":
            if not linkable:
                continue
            os.link(linkable[node.number % len(linkable)], here, follow_symlinks=False)
        else:
            make(here, node)
        if node.type != "dir":
            linkable.append(here)
    for path, node in reversed(tree.items()):
        if node.type == "dir":
            os.utime(root / path, ns=(0, node.mtime_ns))


def make(path: Path, node: Node) -> None:
    if node.type == "file":
        path.write_bytes(content(node, node.number))
    elif node.type == "dir":
        path.mkdir()
    elif node.type == "symlink":
        target = content(node, min(node.number + 1, 4000))
        path.symlink_to(os.fsdecode(target if len(target) % 2 else b"\xe9" + target[1:]))
    else:
        os.mknod(path, TYPE_BITS[node.type] | 0o600, os.makedev(node.number % 300, node.number))
    os.chown(path, *node.owner, follow_symlinks=False)
    if node.type != "symlink":
        # What is made in a setgid directory inherits that, which GNU tar does not undo.
        path.chmod(node.mode & ~stat.S_ISGID if node.type == "dir" else node.mode)
    if node.type == "file" and node.capability:
        os.setxattr(path, "security.capability", node.capability)
    os.utime(path, ns=(0, node.mtime_ns), follow_symlinks=False)


def content(node: Node, size: int) -> bytes:
    """Differs whenever size or mtime do, because a comparison looks at nothing else."""
    seed = hashlib.sha256(b"%d %d" % (size, node.mtime_ns // SECOND)).hexdigest().encode()
    return (seed * 100)[:size]


def apply(tar: Path, tree: Path) -> set[str]:
    """Put a layer's tar on top of a tree; returns the names of its entries, whiteouts aside."""
    names = set()
    with tarfile.open(tar, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            directory, _, name = member.name.rpartition("/")
            if name.startswith(".wh."):
                remove(tree / directory / name.removeprefix(".wh."))
                continue
            names.add(member.name)
            target = tree / member.name
            if not (member.isdir() and is_directory(target)):
                remove(target)
    command = ["tar", "-C", str(tree), "-xpf", str(tar), "--numeric-owner", "--xattrs"]
    # What a directory holds need not follow it: `a.b` sorts before `a/b`.
    command.append("--delay-directory-restore")
    options = ["--xattrs-include=*", "--exclude=.wh.*", "--warning=no-timestamp"]
    subprocess.run([*command, *options], check=True)
    return names


def is_directory(path: Path) -> bool:
    return not path.is_symlink() and path.is_dir()


def remove(path: Path) -> None:
    if is_directory(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def described(root: Path, listed: set[str]) -> tuple[dict[str, object], set[frozenset[str]]]:
    """What a tree is made of, as far as a diff carries it, and the hard links in `listed`.

    A socket arrives as an empty file. Times of sockets, block devices and
    directories that are not in the diff are not compared.
    """
    found: dict[str, object] = {}
    links = defaultdict(set)
    for here in (
        Path(above, name) for above, *names in os.walk(root) for name in itertools.chain(*names)
    ):
        path = str(here.relative_to(root))
        status = here.lstat()
        kind = stat.S_IFMT(status.st_mode)
        detail: object = status.st_rdev
        if kind == stat.S_IFREG:
            detail = here.read_bytes()
        elif kind == stat.S_IFLNK:
            detail = here.readlink()
        elif kind == stat.S_IFSOCK:
            kind, detail = stat.S_IFREG, b""
        capability = None
        with contextlib.suppress(OSError):
            capability = os.getxattr(here, "security.capability", follow_symlinks=False)
        timeless = status.st_mode & stat.S_IFDIR and path not in listed
        found[path] = (
            kind,
            stat.S_IMODE(status.st_mode),
            (status.st_uid, status.st_gid),
            None if timeless else status.st_mtime_ns // SECOND,
            detail,
            capability,
        )
        if kind != stat.S_IFDIR and path in listed:
            links[status.st_ino].add(path)
    return found, {frozenset(group) for group in links.values()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    old_items=st.lists(placed, max_size=16),
    fates=st.lists(st.tuples(st.sampled_from(FATES), nodes), min_size=1, max_size=16),
    new_items=st.lists(placed, max_size=8),
)
def test_old_tree_and_diff_make_the_new_tree(
    old_items: list[Placed], fates: list[tuple[str, Node]], new_items: list[Placed]
) -> None:
    with scratch() as directory:
        old, new, copy, tar, record = (
            directory / name for name in ("old", "new", "copy", "tar", "record")
        )
        old_tree = planned(old_items, {})
        kept_tree, kept = altered(old_tree, fates)
        build(old, old_tree, set(), old)
        build(new, planned(new_items, kept_tree), kept, old)
        subprocess.run(["cp", "-a", old, copy], check=True)

        write_tar(new, compare(new, old), tar)
        digest = recompute(DiffSource("compare", new, old), record)
        assert digest.diff_id == "sha256:" + hashlib.sha256(tar.read_bytes()).hexdigest()

        listed = apply(tar, copy)
        assert described(copy, listed) == described(new, listed)
