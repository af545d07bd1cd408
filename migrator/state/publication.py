"""Moving what was staged into the data root, and taking it back out.

Publishing is a sequence of renames in a fixed order, each of the largest
subtree that the data root does not have yet: on a store that never saw Docker
>= 1.10 all of `image/` is one rename. The layers' trees come first, nothing
names them yet; the two marker files come last, so that until then a Docker
daemon sees a store that still has to be migrated.

Taking back can be repeated from any point: what is done already is left alone.
Nothing that is needed for it (the manifest, the saved files) goes away before
the phase says that the data root is as it was.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from migrator.errors import LayerError, StoreError
from migrator.state.directory import Phase, StateDirectory, is_state
from migrator.state.manifest import Entry, Manifest, Tree, file_digest
from migrator.state.restoring import holds_names, names_given, withdraw_names, withhold_names
from migrator.store import layout, markers
from migrator.store.containerconfig import HOST_CONFIG
from migrator.system import disk
from migrator.system.capabilities import TO_COMPARE, TO_REMOVE, require
from migrator.system.files import Inside, regular_status
from migrator.text import shown
from migrator.tree.fingerprint import fingerprint
from migrator.tree.removal import remove_layers, remove_tree

# Within a directory, children go in this order, then all others by name. A
# container counts as migrated once it has its config.v2.json, an image tag once
# it is in repositories.json; the markers say that there is nothing left to do.
_ORDER = (layout.LAYERS, layout.IMAGES, layout.DISTRIBUTION, layout.REFERENCES, HOST_CONFIG)
_TOP_ORDER = (layout.TOP, "containers", markers.TAGS, markers.IMAGES)


def publish(state: StateDirectory) -> None:
    """Bring the sealed stage into the data root."""
    manifest = Manifest.load(state.manifest)
    replaced = {entry.path for entry in manifest.files if entry.replaced is not None}
    state.phase = Phase.PUBLISHING
    _bring_trees(state, manifest)
    _bring_staged(state, replaced)
    _end(state, manifest)


def settle(state: StateDirectory) -> None:
    """Bring an interrupted publication or rollback to an end, so that a run can begin.

    What was published in part is taken back: the old store may have been used
    since, and what it says now counts. When all was published, Docker may have
    used that, so it stays. Raises StoreError as `take_back` does.
    """
    if state.phase is Phase.PUBLISHING:
        manifest = Manifest.load(state.manifest)
        left = [state.stage / entry.path for entry in manifest.files]
        left += [state.trees / tree.path for tree in manifest.trees]
        if not any(map(os.path.lexists, left)):
            _end(state, manifest)
            return
    take_back(state)


def take_back(state: StateDirectory, *, force: bool = False) -> list[str]:
    """Put the data root back to what it was. The journal, the records and the trees stay.

    Raises StoreError, before anything is changed, when something that was
    published has been changed since, or something was added beside it; with
    `force` those changes are lost. Returns the names that were taken away or not
    put back, because Docker has changed names since, and their images are gone.
    """
    phase = state.phase
    withheld: list[str] = []
    if state.target:
        needed = TO_REMOVE if phase is Phase.PREPARING else TO_REMOVE | TO_COMPARE
        require(needed, f"undoing the migration to {state.target}", state.data_root)
    if phase in (Phase.PUBLISHING, Phase.PUBLISHED, Phase.UNDOING):
        manifest = Manifest.load(state.manifest)
        _refuse_links(state, manifest)
        changes = [] if force else list(_changes_since(state, manifest, phase))
        if changes:
            raise StoreError(
                "changed since the migration",
                subject=str(state.data_root),
                details=changes,
                hint="`migrator rollback --force` goes back all the same; what was changed is lost",
            )
        state.phase = Phase.UNDOING
        withheld = withdraw_names(state, manifest) + _remove_files(state, manifest)
        _take_trees(state, manifest)
        _remove_directories(state, manifest, force)
        state.phase = Phase.PREPARING
    state.clear_stage()
    return withheld


def _end(state: StateDirectory, manifest: Manifest) -> None:
    for thing in manifest.things:
        if not os.path.lexists(state.data_root / thing.path):
            raise StoreError(
                "vanished while it was published",
                subject=thing.path,
                hint="run `migrator rollback`, then the same command again",
            )
    state.phase = Phase.PUBLISHED
    remove_tree(state.stage)
    remove_tree(state.records)
    remove_layers(state.trees)
    disk.remove_file(state.built)


def _bring_trees(state: StateDirectory, manifest: Manifest) -> None:
    """Move the trees in, all at once where the data root has none of that driver yet."""
    things = (*manifest.directories, *(tree.path for tree in manifest.trees))
    parents: dict[Path, None] = {}
    for path in things:
        built, target = state.trees / path, state.data_root / path
        # Those below a directory that was moved went with it.
        if os.path.lexists(built):
            if os.path.lexists(target):
                raise _appeared(path)
            disk.replace(built, target)
            parents[target.parent] = None
    disk.flush_all(parents)


def _bring_staged(state: StateDirectory, replaced: set[str]) -> None:
    """Move what was staged in; each step is on the disk before the next one begins."""
    paths = list(_to_move(state, "", replaced))
    for _, step in groupby(sorted(paths, key=_rank), key=_rank):
        parents: dict[Path, None] = {}
        for path in step:
            target = state.data_root / path
            if path not in replaced and os.path.lexists(target):
                raise _appeared(path)
            disk.replace(state.stage / path, target)
            parents[target.parent] = None
        disk.flush_all(parents)


def _to_move(state: StateDirectory, directory: str, replaced: set[str]) -> Iterator[str]:
    """The paths of all that is renamed: what the data root has not, or what is `replaced`."""
    for name in _sorted(state.stage / directory, ()):
        path = f"{directory}/{name}" if directory else name
        staged, target = state.stage / path, state.data_root / path
        if path in replaced or not os.path.lexists(target):
            yield path
        elif staged.is_dir() and _is_directory(target):
            yield from _to_move(state, path, replaced)
        else:
            raise _appeared(path)


def _appeared(path: str) -> StoreError:
    return StoreError(
        "appeared in the data root while the migration was running",
        subject=path,
        hint="stop whatever uses this data root, run `migrator rollback`, then this again",
    )


def _sorted(directory: Path, order: tuple[str, ...]) -> list[str]:
    """Names in a staged directory, in the order in which they are published."""
    with disk.operation("list", directory):
        names = os.listdir(directory)
    return sorted(names, key=lambda name: (_position(name, order), name))


def _refuse_links(state: StateDirectory, manifest: Manifest) -> None:
    """Raise FormatError if a symbolic link leads from what the manifest names to elsewhere."""
    above = {thing.path.rpartition("/")[0] for thing in manifest.things}
    directories = sorted(above.union(manifest.directories))
    for top in (state.data_root, state.stage, state.saved, state.trees):
        inside = Inside(top)
        for directory in directories:
            inside.directory(directory)
    for entry in manifest.files:
        if entry.replaced is not None and os.path.lexists(saved := state.saved / entry.path):
            with disk.operation("stat", saved):
                regular_status(saved)


def _changes_since(state: StateDirectory, manifest: Manifest, phase: Phase) -> Iterator[str]:
    """What is not as it was published, or, before all was published, as it was before."""
    complete = phase is Phase.PUBLISHED
    for thing in manifest.things:
        if not os.path.lexists(state.data_root / thing.path):
            if complete:
                yield f"{thing.path} was removed"
        elif not (_is_ours(state, thing) or (phase is Phase.UNDOING and _is_back(state, thing))):
            yield f"{thing.path} was changed"
    for path, name in names_given(state, manifest):
        yield f"{path} was changed: {shown(name)} is an image of this migration"
    ours = {thing.path for thing in manifest.things}.union(manifest.directories)
    before = {directory: set[str]() for directory in manifest.directories}
    before |= {directory: set(names) for directory, names in manifest.joined.items()}
    before[""] = {*manifest.listing, *filter(is_state, _sorted(state.data_root, ()))}
    for directory, names in before.items():
        # The old daemon knows nothing of what is published in part, and may go on outside image/.
        if not (complete or directory.startswith(layout.TOP) or directory in ours):
            continue
        if _is_directory(state.data_root / directory):
            for name in _sorted(state.data_root / directory, ()):
                path = f"{directory}/{name}" if directory else name
                if name not in names and path not in ours:
                    yield f"{path} was added"


def _is_back(state: StateDirectory, thing: Tree | Entry) -> bool:
    """Whether an original was put back already, after which nothing happens to it any more."""
    if isinstance(thing, Tree) or thing.replaced is None:
        return False
    return not os.path.lexists(state.saved / thing.path)


def _is_ours(state: StateDirectory, entry: Tree | Entry) -> bool:
    """Whether what is in the data root is what was published, or the file it replaces."""
    target = state.data_root / entry.path
    if isinstance(entry, Tree):
        try:
            return fingerprint(target) == entry.fingerprint
        except LayerError:
            return False
    saved = state.saved / entry.path
    if not stat.S_ISREG(target.lstat().st_mode):
        return False
    if entry.replaced is not None and saved.exists() and target.samefile(saved):
        return True
    return file_digest(target) in (entry.blake3, entry.replaced)


def _is_there(state: StateDirectory, entry: Entry) -> bool:
    return os.path.lexists(state.data_root / entry.path) and _is_ours(state, entry)


def _remove_files(state: StateDirectory, manifest: Manifest) -> list[str]:
    """Take published files away, newest first: the markers go before what they vouch for.

    Returns the names of images that are not put back.
    """
    withheld: list[str] = []
    created = {state.data_root / directory for directory in manifest.directories}
    for _, entries in groupby(sorted(manifest.files, key=_undo_rank), key=_undo_rank):
        parents: dict[Path, None] = {}
        for entry in entries:
            target, saved = state.data_root / entry.path, state.saved / entry.path
            parents[target.parent] = None
            if entry.replaced is None:
                disk.remove_file(target)
            elif saved.exists() and target.parent.is_dir():
                if holds_names(entry) and not _is_there(state, entry):
                    withheld += withhold_names(state, manifest, entry)
                # Where the original was not replaced yet, both are one file, and nothing happens.
                disk.replace(saved, target)
        disk.flush_all(parent for parent in parents if parent not in created and parent.is_dir())
    return withheld


def _take_trees(state: StateDirectory, manifest: Manifest) -> None:
    """Move the trees back to where they were built; one that was never moved in is there."""
    parents: dict[Path, None] = {}
    for tree in manifest.trees:
        target, built = state.data_root / tree.path, state.trees / tree.path
        if os.path.lexists(target) and not os.path.lexists(built):
            _make_directories(state.path, built.parent)
            disk.replace(target, built)
            parents |= dict.fromkeys((target.parent, built.parent))
    disk.flush_all(parents)


def _make_directories(top: Path, directory: Path) -> None:
    """Make what is missing of a directory below `top`, as readable as those of the driver."""
    if directory != top and not _is_directory(directory):
        _make_directories(top, directory.parent)
        disk.make_directory(directory, 0o710)


def _remove_directories(state: StateDirectory, manifest: Manifest, force: bool) -> None:
    created = {state.data_root / directory for directory in manifest.directories}
    parents: dict[Path, None] = {}
    for directory in reversed(manifest.directories):
        target = state.data_root / directory
        if _is_directory(target):
            if force:
                remove_layers(target)
            else:
                disk.remove_directory(target)
            parents[target.parent] = None
    disk.flush_all(parent for parent in parents if parent not in created)


def _rank(path: str) -> tuple[int, int]:
    """Sorts paths into the steps in which they are published."""
    top, *rest = path.split("/")
    # image/<driver>/<within>, containers/<ID>/<within>
    within = rest[1] if len(rest) > 1 else ""
    return _position(top, _TOP_ORDER), _position(within, _ORDER)


def _undo_rank(entry: Entry) -> tuple[int, int]:
    """Sorts files in the reverse of the order in which they are published."""
    top, within = _rank(entry.path)
    return -top, -within


def _position(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)


def _is_directory(path: Path | str) -> bool:
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path | str) -> int:
    """Type and permissions of what stands at `path` itself; 0 if nothing does, or can."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0
