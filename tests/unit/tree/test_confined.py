"""A layer's directory is the only root there is."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.errors import LayerError
from migrator.tree.confined import LayerDirectory, NotRegular

pytestmark = pytest.mark.root


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[LayerDirectory]:
    (tmp_path / "secret").write_bytes(b"outside")
    root = tmp_path / "layer"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"inside")
    (root / "secret").write_bytes(b"inside")
    (root / "to-parent").symlink_to("../secret")
    (root / "absolute").symlink_to("/secret")
    (root / "a/up").symlink_to("../../../../../secret")
    (root / "directory").symlink_to("/a/b")
    (root / "a/loop").symlink_to("loop")
    (root / "chain").symlink_to("directory/../b/file")
    os.mkfifo(root / "fifo")
    os.mknod(root / "device", 0o020600, os.makedev(1, 3))
    with LayerDirectory(root) as directory:
        yield directory


def content(layer: LayerDirectory, name: bytes) -> bytes:
    fd, status = layer.open(name)
    with open(fd, "rb") as file:
        data = file.read()
    assert status.st_size == len(data)
    return data


@pytest.mark.parametrize(
    "name",
    [
        b"a/b/file",
        b"./a//b/./file",
        b"/a/b/file",
        b"../../a/b/file",
        b"a/b/../b/file",
        b"to-parent",
        b"absolute",
        b"a/up",
        b"directory/file",
        b"chain",
    ],
)
def test_every_way_leads_to_a_file_inside(layer: LayerDirectory, name: bytes) -> None:
    assert content(layer, name) == b"inside"
    # From whichever directory was the last.
    assert content(layer, b"secret") == b"inside"
    assert content(layer, name) == b"inside"


@pytest.mark.parametrize("name", [b"fifo", b"device", b"a", b"directory", b"a/b/.."])
def test_only_regular_files_are_opened(layer: LayerDirectory, name: bytes) -> None:
    with pytest.raises((NotRegular, IsADirectoryError)):
        layer.open(name)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (b"a/loop", errno.ELOOP),
        (b"a/loop/x", errno.ELOOP),
        (b"nothing", errno.ENOENT),
        (b"secret/x", errno.ENOTDIR),
        (b"n" * 256, errno.ENAMETOOLONG),
    ],
)
def test_what_is_not_there(layer: LayerDirectory, name: bytes, number: int) -> None:
    with pytest.raises(OSError) as caught:
        layer.open(name)
    assert caught.value.errno == number
    assert content(layer, b"a/b/file") == b"inside"


@pytest.mark.parametrize("name", [b"", b".", b"/", b"..", b"/../.", b"a/../.."])
@pytest.mark.parametrize("before", [b"secret", b"a/b/file"])
def test_names_of_the_root_itself(layer: LayerDirectory, before: bytes, name: bytes) -> None:
    content(layer, before)
    with pytest.raises(OSError):
        layer.open(name)


def test_paths_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    name = b"d" * 255
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir(name, dir_fd=fd)
        deeper = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    with open(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as file:
        file.write(b"deep")
    os.close(fd)
    with LayerDirectory(tmp_path) as layer:
        assert content(layer, b"/".join([name] * 20 + [b"file"])) == b"deep"


def test_descriptors_are_given_back(layer: LayerDirectory) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        for name in (b"a/b/file", b"secret", b"directory/file"):
            content(layer, name)
        with pytest.raises(OSError):
            layer.open(b"a/loop/x")
    layer.open(b"secret")
    # The directories on the way to the last file may stay open, nothing else.
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_root_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(LayerError):
        LayerDirectory(tmp_path / "link")


def test_path_of_more_directories_than_descriptors(
    tmp_path: Path,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.symlink("/top", "link", dir_fd=fd)
    os.close(fd)
    (tmp_path / "top").write_bytes(b"inside")
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, limits[1]))
    try:
        with LayerDirectory(tmp_path) as layer:
            assert content(layer, b"d/" * 400 + b"link") == b"inside"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
