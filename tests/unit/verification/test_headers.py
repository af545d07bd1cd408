"""Files held against headers that say more than one thing of them."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from migrator.layer.recordwriter import RecordWriter
from migrator.verification.headers import header_differences

pytestmark = pytest.mark.root


def entry(
    name: str, mode: int, uid: int = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.type, info.linkname = mode, uid, kind, link
    return info


def write(directory: Path, *entries: tarfile.TarInfo) -> Path:
    """The record of a tar of empty files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info in entries:
            tar.addfile(info)
    path = directory / "tar-split.json.gz"
    with RecordWriter(path) as record:
        data = out.getvalue()
        for number, info in enumerate(entries):
            record.segment(data[number * 512 : (number + 1) * 512])
            record.file(info.name.encode(), 0, 0)
    return path


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    directory = tmp_path / "layer"
    directory.mkdir()
    (directory / "file").touch()
    (directory / "file").chmod(0o640)
    os.chown(directory / "file", 7, 0)
    return directory


def test_the_last_of_several_entries_counts(tmp_path: Path, layer: Path) -> None:
    first, last = entry("./file", 0o600, 5), entry("file", 0o640, 7)
    assert [*header_differences(write(tmp_path, first, last), layer, owners=True)] == []
    found = [*header_differences(write(tmp_path, last, first), layer, owners=True)]
    assert [path for path, _ in found] == [b"file", b"file"]


def test_a_hard_link_sets_mode_and_owner_as_docker_unpacks_it(tmp_path: Path, layer: Path) -> None:
    os.link(layer / "file", layer / "link")
    first = entry("file", 0o600, 5)
    link = entry("link", 0o640, 7, tarfile.LNKTYPE, "file")
    assert [*header_differences(write(tmp_path, first, link), layer, owners=True)] == []
    link.mode = 0o600
    found = [*header_differences(write(tmp_path, first, link), layer, owners=True)]
    assert found == [(b"link", "has the mode 640, in the layer's record 600")]


def test_hard_links_to_what_is_no_file(tmp_path: Path, layer: Path) -> None:
    (layer / "one").symlink_to("file")
    os.link(layer / "one", layer / "two", follow_symlinks=False)
    one = entry("one", 0o777, 0, tarfile.SYMTYPE, "file")
    two = entry("two", 0o777, 0, tarfile.LNKTYPE, "one")
    assert [*header_differences(write(tmp_path, one, two), layer, owners=True)] == []
    (layer / "two").unlink()
    (layer / "two").touch()
    found = [*header_differences(write(tmp_path, one, two), layer, owners=True)]
    assert found == [(b"two", "is of another type than in the layer's record")]
