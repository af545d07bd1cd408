"""What a forced rollback must not put back: names of images that Docker has removed since.

Docker would keep them in `image/<driver>/repositories.json` for good, and show
none of them: no command of its own takes away a name that stands for nothing.
"""

from __future__ import annotations

import os
import re

from migrator import disk
from migrator.errors import FormatError
from migrator.files import Inside, read_file
from migrator.layer.identity import hex_part, is_sha256
from migrator.state.directory import StateDirectory
from migrator.state.manifest import Entry, Manifest
from migrator.store.references import MAX_FILE, without_images

_names = re.compile(r"image/[^/]+/repositories\.json")


def holds_names(entry: Entry) -> bool:
    """Whether it is a file of names."""
    return _names.fullmatch(entry.path) is not None


def withhold_names(state: StateDirectory, manifest: Manifest, entry: Entry) -> list[str]:
    """Take the names whose image is gone out of a saved file of names; returns them.

    `entry` is one that `holds_names`. Can be repeated until the file is back. One
    that cannot be read as a list of names stays as it was saved. Raises StoreError.
    """
    saved = state.saved / entry.path
    # Images that this migration brought go away with it.
    ours = {each.path for each in manifest.files if each.replaced is None}
    content = f"{entry.path.rpartition('/')[0]}/imagedb/content/sha256"
    root = Inside(state.data_root)

    def is_gone(image_id: str) -> bool:
        path = f"{content}/{hex_part(image_id)}"
        return is_sha256(image_id) and (path in ours or not os.path.lexists(root.path(path)))

    try:
        left, names = without_images(read_file(saved, MAX_FILE), entry.path, is_gone)
    except FormatError:
        return []
    if names:
        with disk.operation("stat", saved):
            status = saved.stat()
        owner = (status.st_uid, status.st_gid)
        disk.write_atomically(saved, left, status.st_mode & 0o7777, owner)
    return names
