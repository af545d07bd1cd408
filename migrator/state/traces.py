"""Whether Docker has used a data root since it was migrated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from blake3 import blake3

from migrator.errors import FormatError
from migrator.state.bookkeeping import bookkeeping, changes
from migrator.state.directory import is_state
from migrator.state.history import Held, Migration, held_files, read_history
from migrator.state.manifest import Entry, Manifest
from migrator.store.containerconfig import CONFIG
from migrator.store.layout import TOP, Layout, part
from migrator.store.lines import HEX
from migrator.store.markers import TAGS
from migrator.system.rootfiles import RootFiles, json_object
from migrator.tree.mtimes import same_through_copy

_CONFIG = f"/{CONFIG}"


def sign_of_use_in(data_root: Path) -> str | None:
    """What shows that Docker has used a data root since its last migration, in words.

    None when nothing does, or when it was never migrated. Raises a
    MigratorError when the data root cannot be read.
    """
    with RootFiles(data_root) as files:
        return _sign_since(files)


def what_docker_left(data_root: Path) -> tuple[list[Entry], str | None]:
    """For the manifest of a migration that is about to be published: its last two values."""
    with RootFiles(data_root) as files:
        return bookkeeping(files), _sign_since(files)


def _sign_since(files: RootFiles) -> str | None:
    made = read_history(files).made
    if not made:
        return None
    return sign_of_use(files, made, held_files(made, made[0].manifest.driver))


def sign_of_use(
    files: RootFiles, made: Sequence[Migration], held: Mapping[str, Held]
) -> str | None:
    """What shows it, in words; None when nothing does.

    `made` are all migrations, the last one first, `held` what they published for
    the driver that is looked at. Nothing that damage to a single file could
    bring about counts.
    """
    return next(_signs(files, made, held), None)


def is_written_by_docker(files: RootFiles, entry: Entry) -> bool:
    """Whether only a newline was added: Docker 1.10 to 18.09 writes the map at every start."""
    data = files.read(entry.path)
    return data.endswith(b"\n") and blake3(data[:-1]).hexdigest() == entry.blake3


def is_written_once(path: str) -> bool:
    """Whether Docker never changes a published file, but for removing it."""
    found = part(path)
    return path == TAGS or (found is not None and found.is_written_once)


def has_kept_times(files: RootFiles, held: Mapping[str, Held], *, exactly: bool = False) -> bool:
    """Whether what Docker never writes again has the times that it was published with.

    A copy need not have them, or not `exactly`.
    """
    for path, each in held.items():
        if is_written_once(path):
            with contextlib.suppress(FormatError):
                status, before = files.status(path), each.entry.mtime_ns
                if status is not None and same_through_copy(before, status.st_mtime_ns):
                    return not exactly or status.st_mtime_ns == before
    return False


def _signs(files: RootFiles, made: Sequence[Migration], held: Mapping[str, Held]) -> Iterator[str]:
    last = made[0].manifest
    published = {path for each in made for path in _paths(each.manifest)}
    tops = {path.partition("/")[0] for path in published}
    for name in files.names():
        if name not in tops and name not in last.listing and not is_state(name):
            yield f"{name} is new in the data root"
    yield from changes(files, last.bookkeeping, times=has_kept_times(files, held))
    yield from _rewritten(files, held)
    for path in (*_new_objects(files, last), *_new_containers(files, last)):
        if path not in published:
            yield f"{path} is new"


def _rewritten(files: RootFiles, held: Mapping[str, Held]) -> Iterator[str]:
    for path, each in sorted(held.items()):
        # What was in Docker's order before tells nothing.
        told = path.endswith(_CONFIG) and each.original is None and each.used is None
        if told and _is_changed(files, each.entry) and _is_in_dockers_order(files, path):
            yield f"{path} was rewritten by Docker"


def _new_objects(files: RootFiles, last: Manifest) -> Iterator[str]:
    for directory, before in _known(last):
        for name in files.names(directory):
            if name not in before and HEX.match(name):
                yield f"{directory}/{name}"


def _new_containers(files: RootFiles, last: Manifest) -> Iterator[str]:
    containers = {*files.names("containers")}
    if TOP in last.listing:
        # Of one that was there before, Docker may have made the config before, too.
        containers.difference_update(last.joined.get("containers", containers))
    for path in (f"containers/{name}{_CONFIG}" for name in sorted(containers)):
        if _exists(files, path):
            yield path


def _paths(manifest: Manifest) -> Iterator[str]:
    yield from manifest.directories
    yield from (thing.path for thing in manifest.things)


def _known(last: Manifest) -> Iterator[tuple[str, set[str]]]:
    """Directories to which Docker adds, with the names that the last migration found there.

    One of which it did not look at the names tells nothing.
    """
    layout = Layout(last.driver)
    tops = {tree.path.partition("/")[0] for tree in last.trees}
    for directory in (*tops, layout.layers, layout.mounts, layout.configs):
        if directory in last.joined:
            yield directory, {*last.joined[directory]}
        elif directory in last.directories or TOP not in last.listing:
            yield directory, set()


def _exists(files: RootFiles, path: str) -> bool:
    try:
        return files.status(path) is not None
    except FormatError:
        return False


def _is_changed(files: RootFiles, entry: Entry) -> bool:
    try:
        return files.digest(entry.path)[0] != entry.blake3
    except FormatError:
        return False


def _is_in_dockers_order(files: RootFiles, path: str) -> bool:
    """Docker writes a container's keys in the order of its struct, the migration sorts them."""
    try:
        keys = list(json_object(files.read(path)))
    except FormatError:
        return False
    return keys != sorted(keys)
