"""The data root held against the manifest of what migration published.

Docker writes layers, image configs and mounts once: they must be as published,
or gone altogether. It rewrites repositories.json, metadata and distribution
records as new files, renamed over the old ones, so that another content in
the very file that was published is damage. And nothing changes by itself:
unless something shows that Docker has used the root, every change is damage.
Containers' configs are the exception (Docker 1.10 writes them in place, for
any reason): `containers` knows what must be in them.
"""

from __future__ import annotations

import enum
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from migrator.capabilities import TO_COMPARE, require
from migrator.errors import FormatError, LayerError, Subject
from migrator.layer.identity import SHA256
from migrator.layer.treefingerprint import fingerprint
from migrator.state.directory import Phase, StateDirectory, is_state
from migrator.state.manifest import Entry, Manifest, Tree
from migrator.store.markers import IMAGES, TAGS
from migrator.verification.birth import birth_ns
from migrator.verification.containers import CONFIG, HOST_CONFIG
from migrator.verification.files import MissingFileError, RootFiles
from migrator.verification.findings import Findings
from migrator.verification.use import sign_of_use

_MAX_MANIFEST = 1 << 30


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
class Made:
    """The manifest of a finished migration, and the name of the state directory it is in."""

    directory: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Published:
    """What the manifest says: its entries by path, and what shows later use by Docker.

    `untouched` is whether Docker certainly has not used the root since; never
    so without a manifest.
    """

    entries: dict[str, Entry]
    used: str | None
    untouched: bool


def read_manifests(files: RootFiles, findings: Findings) -> list[Made]:
    """The manifests of finished migrations, the last one first; a damaged one is a finding."""
    names = sorted(filter(is_state, files.names()), reverse=True)
    found = (_read_manifest(files, name, findings) for name in names)
    return [made for made in found if made is not None]


def _read_manifest(files: RootFiles, directory: str, findings: Findings) -> Made | None:
    state = StateDirectory.named(files.root, directory)
    assert state is not None
    with findings.noting(Subject.ROOT, f"{directory}/phase", f"{directory}/phase"):
        for name, limit in (("phase", 4096), ("manifest.json", _MAX_MANIFEST)):
            status = files.status(f"{directory}/{name}")
            if status is not None and not (
                stat.S_ISREG(status.st_mode) and status.st_size <= limit
            ):
                raise FormatError(f"{directory}/{name} is no regular file of a sane size")
        phase = state.phase if files.is_directory(directory) else Phase.NONE
        if phase in (Phase.PUBLISHING, Phase.UNDOING):
            raise FormatError(f"a migration was interrupted while {phase}; finish it first")
        if phase is Phase.PUBLISHED:
            path = f"{directory}/manifest.json"
            with findings.noting(Subject.ROOT, path, path):
                return Made(directory, _checked(Manifest.load(state.manifest)))
    return None


def _checked(manifest: Manifest) -> Manifest:
    """The manifest itself. Raises FormatError when a value is not of its type."""
    lists = (manifest.listing, manifest.directories)
    if not all(isinstance(names, list) for names in lists):
        raise FormatError("is no manifest")
    texts = [manifest.driver, *manifest.listing, *manifest.directories]
    numbers: list[object] = []
    for entry in manifest.files:
        texts += [entry.path, entry.blake3]
        numbers += [entry.inode, entry.mtime_ns]
    if not all(type(text) is str for text in texts) or not all(type(n) is int for n in numbers):
        raise FormatError("is no manifest")
    return manifest


def compare(
    files: RootFiles, manifest: Manifest | None, others: Sequence[Manifest], findings: Findings
) -> Published:
    """Compare all that was published with the manifest; the faults become findings.

    `others` are the manifests of other migrations of this data root.
    """
    if manifest is None:
        return Published({}, None, untouched=False)
    compared = [_compared(files, entry, findings) for entry in manifest.files]
    changed = {item.entry.path for item in compared if item.state is _State.CHANGED}
    used = sign_of_use(files, manifest, others, changed)
    if used is None and manifest.trees:
        require(TO_COMPARE, "comparing layers with what was built", files.root)
        # A use leaves its traces in these.
        for tree in manifest.trees:
            with findings.noting(*_about(tree.path), tree.path):
                _check_tree(files, tree)
    found = [item for item in compared if item.inode]
    copied = bool(found) and all(item.inode != item.entry.inode for item in found)
    for item in compared:
        path, reason = item.entry.path, None
        if item.state is _State.CHANGED:
            reason = _fault_of_change(files, item, used, copied)
        elif item.state is _State.MISSING:
            path, reason = _fault_of_absence(files, path, used)
        if reason is not None:
            findings.add(*_about(path), path, reason)
    entries = {entry.path: entry for entry in manifest.files}
    return Published(entries, used, untouched=used is None)


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
            entry.path == IMAGES and _is_written_by_docker(files, entry)
        )
    except MissingFileError:
        return _Compared(entry, _State.MISSING)
    except FormatError as error:
        findings.add(*_about(entry.path), entry.path, error.message)
        return _Compared(entry, _State.UNREADABLE)
    state = _State.SAME if same else _State.CHANGED
    return _Compared(entry, state, status.st_ino, status.st_mtime_ns)


def _is_written_by_docker(files: RootFiles, entry: Entry) -> bool:
    """Whether only a newline was added: Docker 1.10 to 18.09 writes the map at every start."""
    data = files.read(entry.path)
    return data.endswith(b"\n") and blake3(data[:-1]).hexdigest() == entry.blake3


def _fault_of_change(
    files: RootFiles, item: _Compared, used: str | None, copied: bool
) -> str | None:
    """Why another content than the published one is a fault, if it is."""
    entry = item.entry
    if _is_written_once(entry.path):
        return "its content is not what the migration wrote"
    same_file = item.inode == entry.inode
    if same_file and item.mtime_ns == entry.mtime_ns:
        return "its content has changed without having been written"
    if entry.path.endswith((f"/{CONFIG}", f"/{HOST_CONFIG}")):
        return None
    if used is None:
        return "has changed since the migration, and nothing shows that Docker did it"
    if entry.path == IMAGES or not same_file or copied:
        return None
    # A number can come back: Docker's next file may have the inode of its last one.
    born = birth_ns(files.root / entry.path)
    if born is not None and born > entry.mtime_ns:
        return None
    return "has changed in place, which Docker does not do"


def _fault_of_absence(files: RootFiles, path: str, used: str | None) -> tuple[str, str | None]:
    """What is missing, and why that is a fault, if it is."""
    thing = _thing(path)
    if thing != path and files.is_directory(thing):
        return path, "was published, and is missing"
    if used is None or path.startswith(".") or path.endswith("/repositories.json"):
        return thing, "was published, and is missing"
    return thing, None


def _thing(path: str) -> str:
    """The directory that comes and goes as a whole, or the file itself."""
    match path.split("/"):
        case ["containers", name, *_]:
            return f"containers/{name}"
        case ["image", driver, "layerdb", kind, name, *_]:
            return f"image/{driver}/layerdb/{kind}/{name}"
    return path


def _is_written_once(path: str) -> bool:
    match path.split("/"):
        case ["image", _, "layerdb", *_] | ["image", _, "imagedb", "content", *_]:
            return True
    return path == TAGS


def _about(path: str) -> tuple[Subject, str]:
    """Which kind of thing a published file belongs to, and its name."""
    match path.split("/"):
        case ["containers", name, *_] | ["image", _, "layerdb", "mounts", name, *_]:
            return Subject.CONTAINER, name
        case ["image", _, "layerdb", _, name, *_]:
            return Subject.LAYER, SHA256 + name
        case ["image", _, "imagedb", _, _, name, *_]:
            return Subject.IMAGE, SHA256 + name
        case ["image", _, "distribution", _, algorithm, name]:
            return Subject.DIGEST, f"{algorithm}:{name}"
    return Subject.ROOT, path
