"""The data root held against the manifest of what migration published.

Docker writes layers, image configs and mounts once: they must be as published,
or gone altogether; or, a layer, be there again with another cache-id. It
rewrites repositories.json, metadata and distribution records as new files,
renamed over the old ones, so that another content in the very file that was
published is damage. And nothing changes by itself: unless something shows that
Docker has used the root since, every change is damage (`use` has the signs).
Containers' configs are the exception (Docker 1.10 writes them in place, for
any reason): `containers` knows what must be in them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import FormatError, LayerError, Subject
from migrator.state.history import (
    Migration,
    Original,
    held_files,
    held_trees,
    originals,
    was_used_before,
)
from migrator.state.manifest import Entry, Tree
from migrator.state.traces import (
    has_kept_times,
    is_written_by_docker,
    is_written_once,
    sign_of_use,
)
from migrator.store.containerconfig import CONFIG, HOST_CONFIG
from migrator.store.findings import Finding, Findings
from migrator.store.layout import CACHE_ID, Kind, part
from migrator.store.markers import IMAGES
from migrator.system.capabilities import TO_COMPARE, require
from migrator.system.rootfiles import MissingFileError, RootFiles
from migrator.system.statx import creation_time_ns
from migrator.tree.fingerprint import fingerprint
from migrator.tree.mtimes import same_through_copy


class _State(enum.Enum):
    SAME = enum.auto()
    CHANGED = enum.auto()
    MISSING = enum.auto()
    UNREADABLE = enum.auto()


@dataclass(frozen=True, slots=True)
class _Compared:
    entry: Entry
    state: _State
    inode: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """What the manifests say: how many `files`, and which of them replaced what.

    `used` is what shows that Docker has used the root since the last migration,
    `untouched` whether Docker >= 1.10 certainly was never here; never so without
    a manifest. `in_use` is the opposite, as far as a manifest tells.
    """

    files: int
    replaced: dict[str, tuple[Entry, Original]]
    used: str | None
    untouched: bool
    in_use: bool
    findings: tuple[Finding, ...] = ()


def compare(files: RootFiles, driver: str, made: Sequence[Migration]) -> Published:
    """Compare all that was published for `driver` with the manifests.

    `made` are all migrations of the data root, the last one first.
    """
    findings = Findings(_faults_of_originals(files, made))
    if not any(each.manifest.driver == driver for each in made):
        return Published(0, {}, None, untouched=False, in_use=False, findings=tuple(findings))
    held = held_files(made, driver)
    used = sign_of_use(files, made, held)
    # Trees are told by their times, too.
    kept = has_kept_times(files, held, exactly=True)
    trees = held_trees(made, driver, used) if kept else []
    if trees:
        require(TO_COMPARE, "comparing layers with what was built", files.root)
    for tree in trees:
        with findings.noting(*_about(tree.path), tree.path):
            _check_tree(files, tree)
    compared = [(each, _compared(files, each.entry, findings)) for each in held.values()]
    found = [item for _, item in compared if item.inode]
    copied = bool(found) and all(item.inode != item.entry.inode for item in found)
    changed = {item.entry.path for _, item in compared if item.state is _State.CHANGED}
    judge = _Judge(files, copied, changed)
    for each, item in compared:
        if fault := judge.fault(item, used or each.used):
            path, reason = fault
            findings.add(*_about(path), path, reason)
    untouched = used is None and not was_used_before(made)
    return Published(
        files=len(held),
        replaced=originals(held),
        used=used,
        untouched=untouched,
        in_use=not untouched,
        findings=tuple(findings),
    )


def _faults_of_originals(files: RootFiles, made: Sequence[Migration]) -> tuple[Finding, ...]:
    """What migrations replaced must be kept as it was, for `rollback` to put it back."""
    findings = Findings()
    for each in made:
        for entry in each.manifest.files:
            if entry.replaced is not None:
                path = f"{each.directory}/saved/{entry.path}"
                with findings.noting(Subject.ROOT, path, path):
                    if files.digest(path)[0] != entry.replaced:
                        raise FormatError("is no longer what was there before the migration")
    return tuple(findings)


def _check_tree(files: RootFiles, tree: Tree) -> None:
    if not files.is_directory(str(Path(tree.path).parent)) or files.status(tree.path) is None:
        raise FormatError("was published, and is missing")
    try:
        same = fingerprint(files.root / tree.path) == tree.fingerprint
    except LayerError as error:
        raise FormatError(str(error)) from None
    if not same:
        raise FormatError("has changed since the migration, and nothing shows that Docker did it")


def _compared(files: RootFiles, entry: Entry, findings: Findings) -> _Compared:
    try:
        digest, status = files.digest(entry.path)
        same = digest == entry.blake3 or (
            entry.path == IMAGES and is_written_by_docker(files, entry)
        )
    except MissingFileError:
        return _Compared(entry, _State.MISSING)
    except FormatError as error:
        findings.add(*_about(entry.path), entry.path, error.message)
        return _Compared(entry, _State.UNREADABLE)
    state = _State.SAME if same else _State.CHANGED
    return _Compared(entry, state, status.st_ino, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class _Judge:
    """`copied` is whether no file is the one that was published, `changed` which have changed."""

    files: RootFiles
    copied: bool
    changed: Set[str]

    def fault(self, item: _Compared, used: str | None) -> tuple[str, str] | None:
        """The path that is at fault, and why; None if nothing is."""
        path, reason = item.entry.path, None
        if item.state is _State.CHANGED:
            reason = self._of_change(item, used)
        elif item.state is _State.MISSING:
            path, reason = _fault_of_absence(self.files, path, used)
        return None if reason is None else (path, reason)

    def _of_change(self, item: _Compared, used: str | None) -> str | None:
        """Why another content than the published one is a fault, if it is."""
        entry = item.entry
        same_file = item.inode == entry.inode
        if (same_file or self.copied) and same_through_copy(entry.mtime_ns, item.mtime_ns):
            return "its content has changed without having been written"
        if is_written_once(entry.path):
            cache_id = _cache_id_of(entry.path)
            if not (used and cache_id in self.changed):
                return "its content is not what the migration wrote"
            if entry.path != cache_id:
                return None
        if entry.path.endswith((f"/{CONFIG}", f"/{HOST_CONFIG}")):
            return None
        if used is None:
            return "has changed since the migration, and nothing shows that Docker did it"
        if entry.path == IMAGES or not same_file or self.copied:
            return None
        # A number can come back: Docker's next file may have the inode of its last one.
        created = creation_time_ns(self.files.root / entry.path)
        if created is not None and created > entry.mtime_ns:
            return None
        return "has changed in place, which Docker does not do"


def _cache_id_of(path: str) -> str | None:
    """The file that is another when Docker removes a layer and gets the same again.

    None if `path` is no file of a layer that is another then.
    """
    found = part(path)
    if found is None or not found.is_new_with_layer:
        return None
    return f"{found.directory}/{CACHE_ID}"


def _fault_of_absence(files: RootFiles, path: str, used: str | None) -> tuple[str, str | None]:
    """What is missing, and why that is a fault, if it is."""
    thing = _thing(path)
    if thing != path and files.is_directory(thing):
        return path, "was published, and is missing"
    if used is None or path.startswith(".") or _is_references(path):
        return thing, "was published, and is missing"
    return thing, None


def _is_references(path: str) -> bool:
    found = part(path)
    return found is not None and found.kind is Kind.REFERENCES


def _thing(path: str) -> str:
    """The directory that comes and goes as a whole, or the file itself."""
    match path.split("/"):
        case ["containers", name, *_]:
            return f"containers/{name}"
    found = part(path)
    return path if found is None else found.directory or path


def _about(path: str) -> tuple[Subject, str]:
    """Which kind of thing a published file belongs to, and its name."""
    match path.split("/"):
        case ["containers", name, *_]:
            return Subject.CONTAINER, name
    found = part(path)
    return (Subject.ROOT, path) if found is None else (found.subject, found.name or path)
