"""What a rollback must not leave: names of images that are gone, or go away with it.

Docker would keep them in `image/<driver>/repositories.json` for good, and show
none of them: no command of its own takes away a name that stands for nothing.
What Docker did not touch since the migration stays or comes back as it was,
whatever it says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from migrator.errors import FormatError
from migrator.layer.identity import is_sha256
from migrator.state.directory import StateDirectory
from migrator.state.manifest import Entry, Manifest
from migrator.store.layout import Kind, Layout, part
from migrator.store.references import MAX_FILE, without_images
from migrator.system import disk
from migrator.system.files import Inside, read_file, regular_status


def holds_names(entry: Entry) -> bool:
    """Whether it is a file of names."""
    found = part(entry.path)
    return found is not None and found.kind is Kind.REFERENCES


def withhold_names(state: StateDirectory, manifest: Manifest, entry: Entry) -> list[str]:
    """Take the names whose image is gone out of a saved file of names; returns them.

    `entry` is one that `holds_names`. Can be repeated until the file is back. One
    that cannot be read as a list of names stays as it was saved. Raises StoreError.
    """
    ours = _images(manifest)
    root = Inside(state.data_root)

    def is_gone(path: str) -> bool:
        return path in ours or not os.path.lexists(root.path(path))

    left, names = _without(state.saved / entry.path, entry.path, is_gone)
    if names:
        _write(state.saved / entry.path, left)
    return names


def withdraw_names(state: StateDirectory, manifest: Manifest) -> list[str]:
    """Take away the names of `names_given`; returns them. Can be repeated. Raises StoreError."""
    withdrawn: list[str] = []
    for path, left, names in _given(state, manifest):
        _write(state.data_root / path, left)
        withdrawn += names
    return withdrawn


def names_given(state: StateDirectory, manifest: Manifest) -> list[tuple[str, str]]:
    """Names that Docker gave to images of this migration in a file that is none of its.

    Each with the file's path.
    """
    return [(path, name) for path, _, names in _given(state, manifest) for name in names]


def _given(state: StateDirectory, manifest: Manifest) -> Iterator[tuple[str, bytes, list[str]]]:
    """Files of names that were there before and written since, what is left of each, and names."""
    ours = _images(manifest)
    published = {entry.path for entry in manifest.files}
    latest = max((entry.mtime_ns for entry in manifest.files), default=0)
    stores = sorted({found.driver for path in ours if (found := part(path))})
    for path in (Layout(driver).references for driver in stores):
        place = state.data_root / path
        if path in published or not os.path.lexists(place):
            continue
        left, names = _without(place, path, ours.__contains__)
        if names and regular_status(place).st_mtime_ns > latest:
            yield path, left, names


def _images(manifest: Manifest) -> frozenset[str]:
    """The configs of images that the migration brought, which go away with it."""
    added = (entry.path for entry in manifest.files if entry.replaced is None)
    return frozenset(path for path in added if (x := part(path)) and x.kind is Kind.CONFIG)


def _without(place: Path, path: str, is_gone: Callable[[str], bool]) -> tuple[bytes, list[str]]:
    """What is at `place`, for a file of names at `path`, without images that are gone."""
    found = part(path)
    assert found is not None
    layout = Layout(found.driver)

    def is_left_out(image_id: str) -> bool:
        return is_sha256(image_id) and is_gone(layout.config(image_id))

    try:
        return without_images(read_file(place, MAX_FILE), path, is_left_out)
    except FormatError:
        return b"", []


def _write(place: Path, data: bytes) -> None:
    """Give a file other content; mode and owner stay."""
    with disk.operation("stat", place):
        status = place.stat()
    owner = (status.st_uid, status.st_gid)
    disk.write_atomically(place, data, status.st_mode & 0o7777, owner)
