"""Where tests let a layer's tar go: into a file, for other programs to judge."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from migrator.layer.difftar import write_diff
from migrator.tree.changes import Change


class FileSink:
    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def raw(self, data: bytes) -> None:
        self._out.write(data)

    def no_content(self, name: bytes) -> None:
        pass

    def content(self, name: bytes, fd: int, status: os.stat_result) -> int:
        return self._out.write(os.pread(fd, status.st_size, 0))


def write_tar(root: Path, changes: Iterable[Change], to: Path) -> None:
    with to.open("wb") as out:
        write_diff(root, changes, FileSink(out))
