"""What a migration is going to add, prepared aside in `.migrator/stage/`.

The stage is laid out as the data root will be. Nothing outside `.migrator/`
is touched until `migrator.state.publication` moves the stage's content in.
"""

from __future__ import annotations

import os
from pathlib import Path

from blake3 import blake3

from migrator import disk
from migrator.state.directory import StateDirectory
from migrator.state.manifest import Entry, Manifest, file_digest


class Staging:
    """Collects files by their path relative to the data root.

    A path that the data root has already is not to be staged, unless with
    `replace`; ask `present` first.
    """

    def __init__(self, state: StateDirectory, driver: str) -> None:
        self._state = state
        self._driver = driver
        self._files: dict[str, Entry] = {}
        self._directories: dict[str, None] = {}
        self._staged_directories: set[str] = set()
        state.clear_stage()
        disk.make_directory(state.stage)
        disk.make_directory(state.saved)

    def present(self, path: str) -> bool:
        """Whether the data root itself has something at `path`."""
        return os.path.lexists(self._state.data_root / path)

    def current(self, path: str) -> bytes | None:
        """What the data root has at `path` now; None when nothing."""
        try:
            return (self._state.data_root / path).read_bytes()
        except FileNotFoundError:
            return None

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
        """Stage other content for a file that the data root has; mode and owner stay.

        The original is kept: a hard link to it in `.migrator/saved/`, with all
        its metadata, is what rollback puts back.
        """
        original = self._state.data_root / path
        status = original.stat()
        saved = self._state.saved / path
        self._make_parents(saved.parent, self._state.saved)
        disk.link_or_copy(original, saved)
        target = self._place(path)
        disk.write_file(target, data, status.st_mode & 0o7777)
        os.chown(target, status.st_uid, status.st_gid)
        self._note(path, target, blake3(data).hexdigest(), replaced=file_digest(saved))

    def seal(self) -> Manifest:
        """Flush everything to the disk, and write down what is going to be published."""
        # One sync for all, then each file for its own error, which costs little by then.
        os.sync()
        for path in self._files:
            disk.flush(self._state.stage / path)
        for directory in self._staged_directories:
            disk.flush(self._state.stage / directory)
        disk.flush(self._state.stage)
        root = self._state.data_root
        manifest = Manifest(
            driver=self._driver,
            files=list(self._files.values()),
            directories=list(self._directories),
            listing=sorted(name for name in os.listdir(root) if name != self._state.path.name),
        )
        manifest.save(self._state.manifest)
        return manifest

    def _place(self, path: str) -> Path:
        """The staged path, its directories made and noted."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            directory = "/".join(parts[:depth])
            if directory in self._staged_directories:
                continue
            self._staged_directories.add(directory)
            disk.make_directory(self._state.stage / directory)
            if not self.present(directory):
                self._directories[directory] = None
        return self._state.stage / path

    def _make_parents(self, directory: Path, top: Path) -> None:
        missing = []
        while directory != top and not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for path in reversed(missing):
            disk.make_directory(path)

    def _note(self, path: str, staged: Path, digest: str, replaced: str | None = None) -> None:
        status = staged.stat()
        self._files[path] = Entry(
            path, digest, status.st_mode & 0o7777, status.st_ino, status.st_mtime_ns, replaced
        )
