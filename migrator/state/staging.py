"""What a migration is going to add, prepared aside in `.migrator/stage/`.

The stage is laid out as the data root will be. Nothing outside `.migrator/`
is touched until `migrator.state.publication` moves the stage's content in.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from migrator.errors import FormatError, Problem, StoreError
from migrator.state import left_out as left_out_file
from migrator.state.directory import StateDirectory, is_state
from migrator.state.manifest import Entry, Manifest, Tree, file_digest
from migrator.system import disk
from migrator.system.files import Inside, read_file, regular_status

# Bytes that a file of Docker's, which is added to, may have: half a million tags.
_MAX_FILE = 64 << 20


class Staging:
    """Collects files by their path relative to the data root.

    A path that the data root has already is not to be staged, unless with
    `replace`; ask `present` first.
    """

    def __init__(self, state: StateDirectory, driver: str) -> None:
        self._state = state
        self._driver = driver
        self._files: dict[str, Entry] = {}
        self._trees: list[Tree] = []
        self._directories: dict[str, None] = {}
        self._joined: dict[str, list[str]] = {}
        self._made: dict[Path, None] = {}
        self._inside = Inside(state.data_root)
        state.clear_stage()
        for directory in (state.stage, state.saved):
            disk.make_directory(directory)
            self._made[directory] = None
        with disk.operation("stat", state.path):
            self._device = state.path.stat().st_dev

    def present(self, path: str) -> bool:
        """Whether the data root has something at `path`, or it is staged."""
        staged = path in self._files or self._state.stage / path in self._made
        return staged or self._is_in_root(path)

    def current(self, path: str) -> bytes | None:
        """What is at `path`, as staged or as the data root has it; None when nothing.

        Raises StoreError, and FormatError when it is no regular file.
        """
        place = self._state.stage / path if path in self._files else self._in_root(path)
        with disk.operation("read", place):
            return read_file(place, _MAX_FILE)

    def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Stage a new file."""
        target = self._place(path)
        disk.write_file(target, data, mode)
        self._note(path, target, blake3(data).hexdigest())

    def link(self, path: str, source: Path) -> None:
        """Stage a file with the content of `source`, by hard link where that is possible."""
        target = self._place(path)
        disk.link_or_copy(source, target)
        self._note(path, target, file_digest(target))

    def replace(self, path: str, data: bytes) -> None:
        """Stage other content for a file that is `present`; mode and owner stay.

        The original is kept: a hard link to it in `.migrator/saved/`, with all
        its metadata, is what rollback puts back.
        """
        if path in self._files:
            self._replace_staged(path, data)
            return
        original, saved = self._in_root(path), self._state.saved / path
        with disk.operation("stat", original):
            status = regular_status(original)
        self._make_directories(self._state.saved, path)
        disk.link_or_copy(original, saved)
        target = self._place(path)
        mode, owner = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
        disk.write_file(target, data, mode, owner)
        self._note(path, target, blake3(data).hexdigest(), replaced=file_digest(saved))

    def _replace_staged(self, path: str, data: bytes) -> None:
        target, entry = self._state.stage / path, self._files[path]
        with disk.operation("stat", target):
            status = target.stat()
        disk.remove_file(target)
        disk.write_file(target, data, entry.mode, (status.st_uid, status.st_gid))
        self._note(path, target, blake3(data).hexdigest(), entry.replaced)

    def tree(self, path: str, fingerprint: str) -> None:
        """Have what was built at `path` in `StateDirectory.trees` published, as one thing.

        `fingerprint` is that of `migrator.tree.fingerprint`.
        """
        self._note_directories(path)
        self._trees.append(Tree(path, fingerprint))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to publish."""
        return not (self._files or self._trees)

    def seal(
        self,
        left_out: Iterable[Problem] = (),
        bookkeeping: Iterable[Entry] = (),
        used: str | None = None,
    ) -> Manifest:
        """Flush everything to the disk, and write down what is going to be published.

        `left_out` is what does not come over, for the next run to tell; the others
        are as in `Manifest`.
        """
        # One wait for all; where it tells no errors each file is asked for its own, which
        # costs little by then, but still most of what a layer without files costs.
        disk.flush_file_system(self._state.path)
        if not disk.syncfs_tells_errors(self._state.path):
            self._flush_each()
        root = self._state.data_root
        manifest = Manifest(
            driver=self._driver,
            files=list(self._files.values()),
            directories=list(self._directories),
            listing=[name for name in self._names(root) if not is_state(name)],
            joined=self._joined,
            trees=self._trees,
            bookkeeping=list(bookkeeping),
            used=used,
        )
        left_out_file.write(self._state.left_out, left_out)
        manifest.save(self._state.manifest)
        return manifest

    def _flush_each(self) -> None:
        for path, entry in self._files.items():
            disk.flush(self._state.stage / path)
            if entry.replaced is not None:
                disk.flush(self._state.saved / path)
        for directory in self._made:
            disk.flush(directory)
        disk.flush(self._state.path)

    def _place(self, path: str) -> Path:
        """The staged path, its directories made."""
        self._make_directories(self._state.stage, path)
        self._note_directories(path)
        return self._state.stage / path

    def _make_directories(self, top: Path, path: str) -> None:
        """Make what is missing of the directories above `path` below `top`."""
        for directory in _above(path):
            if top / directory not in self._made:
                disk.make_directory(top / directory)
                self._made[top / directory] = None

    def _note_directories(self, path: str) -> None:
        """Note which directories above `path` are new in the data root, and what others hold."""
        for directory in _above(path):
            if directory in self._directories or directory in self._joined:
                continue
            if self._is_in_root(directory):
                target = self._state.data_root / directory
                self._check_place(target)
                self._joined[directory] = self._names(target)
            else:
                self._directories[directory] = None

    def _is_in_root(self, path: str) -> bool:
        return os.path.lexists(self._in_root(path))

    def _in_root(self, path: str) -> Path:
        """Where `path` is in the data root; StoreError if something leads elsewhere."""
        try:
            return self._inside.path(path)
        except FormatError as error:
            raise StoreError(
                "stands where a directory has to be",
                subject=error.subject,
                hint="nothing was changed; mount what it leads to in its place (mount --bind)",
            ) from None

    def _check_place(self, directory: Path) -> None:
        """Raise StoreError unless renames can bring something into this directory."""
        with disk.operation("stat", directory):
            status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise StoreError("stands where a directory has to be", subject=str(directory))
        if status.st_dev != self._device:
            raise StoreError(
                "lies on another file system than the data root",
                subject=str(directory),
                hint="nothing was changed; what is published is renamed, which works in one only",
            )

    def _names(self, directory: Path) -> list[str]:
        with disk.operation("list", directory):
            return sorted(os.listdir(directory))

    def _note(self, path: str, staged: Path, digest: str, replaced: str | None = None) -> None:
        with disk.operation("stat", staged):
            status = staged.stat()
        self._files[path] = Entry(
            path, digest, status.st_mode & 0o7777, status.st_ino, status.st_mtime_ns, replaced
        )


def _above(path: str) -> list[str]:
    """The directories above a path, outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
