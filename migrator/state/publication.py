"""Moving what was staged into the data root, and taking it back out.

Publishing is a sequence of renames in a fixed order, each of the largest
subtree that the data root does not have yet: on a store that never saw Docker
>= 1.10 all of `image/` is one rename. The two marker files come last, so that
until then a Docker daemon sees a store that still has to be migrated. Both
ways can be repeated from any point: what is done already is left alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from migrator import disk
from migrator.errors import StoreError
from migrator.state.directory import Phase, StateDirectory
from migrator.state.manifest import Entry, Manifest, file_digest

# Within a directory, children go in this order, then all others by name. A
# container counts as migrated once it has its config.v2.json, an image tag once
# it is in repositories.json; the markers say that there is nothing left to do.
_ORDER = ("layerdb", "imagedb", "distribution", "repositories.json", "hostconfig.json")
_TOP_ORDER = ("image", "containers", ".migration-v1-tags", ".migration-v1-images.json")


def publish(state: StateDirectory) -> None:
    """Bring the sealed stage into the data root; finishes what a killed run began."""
    manifest = Manifest.load(state.manifest)
    replaced = {entry.path for entry in manifest.files if entry.replaced is not None}
    state.phase = Phase.PUBLISHING
    for name in _sorted(state.stage, _TOP_ORDER):
        _merge(state, name, replaced)
    for entry in manifest.files:
        if not os.path.lexists(state.data_root / entry.path):
            raise StoreError(
                "vanished while it was published",
                subject=entry.path,
                hint="run `migrator rollback`, then `migrator migrate` again",
            )
    state.phase = Phase.PUBLISHED
    disk.remove_tree(state.stage)
    disk.remove_tree(state.records)


def undo(state: StateDirectory, *, force: bool = False) -> None:
    """Put the data root back to what it was, and remove `.migrator/` last.

    Raises StoreError, before anything is changed, when something that was
    published has been changed since, or something was added beside it; with
    `force` those changes are lost.
    """
    phase = state.phase
    if phase in (Phase.PUBLISHING, Phase.PUBLISHED) or (
        phase is Phase.UNDOING and state.manifest.exists()
    ):
        manifest = Manifest.load(state.manifest)
        changes = list(_changes_since(state, manifest))
        if changes and not force:
            raise StoreError(
                "changed since the migration: "
                + "; ".join(changes[:20])
                + (f"; and {len(changes) - 20} more" if len(changes) > 20 else ""),
                subject=str(state.data_root),
                hint="`migrator rollback --force` goes back all the same; what was changed is lost",
            )
        state.phase = Phase.UNDOING
        _take_back(state, manifest)
    disk.remove_tree(state.path)
    disk.flush(state.data_root)


def _merge(state: StateDirectory, path: str, replaced: set[str]) -> None:
    staged, target = state.stage / path, state.data_root / path
    if not os.path.lexists(target) or path in replaced:
        disk.replace(staged, target)
        disk.flush(target.parent)
    elif staged.is_dir() and stat.S_ISDIR(os.lstat(target).st_mode):
        for name in _sorted(staged, _ORDER):
            _merge(state, f"{path}/{name}", replaced)
    else:
        raise StoreError(
            "appeared in the data root while the migration was running",
            subject=path,
            hint="stop whatever uses this data root, run `migrator rollback`, then migrate again",
        )


def _sorted(directory: Path, order: tuple[str, ...]) -> list[str]:
    """Names in a staged directory, in the order in which they are published."""
    if not directory.is_dir():
        return []
    rank = {name: position for position, name in enumerate(order)}
    return sorted(os.listdir(directory), key=lambda name: (rank.get(name, len(order)), name))


def _changes_since(state: StateDirectory, manifest: Manifest) -> Iterator[str]:
    ours = {entry.path for entry in manifest.files} | set(manifest.directories)
    for entry in manifest.files:
        target = state.data_root / entry.path
        if not os.path.lexists(target):
            continue
        if not stat.S_ISREG(os.lstat(target).st_mode) or file_digest(target) not in (
            entry.blake3,
            entry.replaced,
        ):
            yield f"{entry.path} was changed"
    for directory in manifest.directories:
        target = state.data_root / directory
        if target.is_dir():
            for name in sorted(os.listdir(target)):
                if f"{directory}/{name}" not in ours:
                    yield f"{directory}/{name} was added"


def _take_back(state: StateDirectory, manifest: Manifest) -> None:
    """Remove what was published, newest first: the markers go before what they vouch for."""
    for entry in sorted(manifest.files, key=_undo_rank):
        target = state.data_root / entry.path
        if entry.replaced is None:
            disk.remove_file(target)
            continue
        saved = state.saved / entry.path
        if saved.exists():
            disk.replace(saved, target)
            disk.flush(target.parent)
    for directory in reversed(manifest.directories):
        target = state.data_root / directory
        if target.is_dir():
            # Only with force is there anything left in it.
            disk.remove_tree(target)
            disk.flush(target.parent)
    for entry in manifest.files:
        parent = (state.data_root / entry.path).parent
        if parent.is_dir():
            disk.flush(parent)


def _undo_rank(entry: Entry) -> int:
    top = entry.path.partition("/")[0]
    return -_TOP_ORDER.index(top) if top in _TOP_ORDER else 1
