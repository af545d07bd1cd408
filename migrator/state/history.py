"""The migrations of a data root, one after the other, and what the last word is on each file.

A later one may replace what an earlier one published, and of what an earlier
one published Docker may have changed and removed things before the later one.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from migrator.errors import FormatError, Subject
from migrator.state.directory import Phase, StateDirectory
from migrator.state.manifest import Entry, Manifest, Tree
from migrator.store.findings import Finding, Findings
from migrator.store.layout import TOP, part
from migrator.system.rootfiles import RootFiles

_MAX_MANIFEST = 1 << 30


@dataclass(frozen=True, slots=True)
class Migration:
    """The manifest of a finished migration, and the name of the state directory it is in."""

    directory: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Original:
    """A file that stood before any migration replaced it: where it is kept, and its BLAKE3."""

    path: str
    blake3: str


@dataclass(frozen=True, slots=True)
class Held:
    """A published file, as the last migration wrote it that did.

    `used` says what showed, when a later migration came, that Docker had used
    the data root since this one. `original` is None for what was new.
    """

    entry: Entry
    original: Original | None
    used: str | None


@dataclass(frozen=True, slots=True)
class History:
    """The finished migrations of a data root, the last one first."""

    made: tuple[Migration, ...]
    findings: tuple[Finding, ...] = ()


def read_history(files: RootFiles) -> History:
    """Read the manifests of finished migrations; a damaged one is a finding."""
    findings = Findings()
    named = (StateDirectory.named(files.root, name) for name in files.names())
    states = [state for state in named if state is not None]
    states.sort(key=lambda state: state.rank, reverse=True)
    found = [_read_manifest(files, state, findings) for state in states]
    return History(tuple(made for made in found if made is not None), tuple(findings))


def _read_manifest(files: RootFiles, state: StateDirectory, findings: Findings) -> Migration | None:
    directory = state.path.name
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
        if phase is Phase.PREPARING and files.status(f"{directory}/phase") is None:
            _check_unpublished(files, state)
        if phase is Phase.PUBLISHED:
            path = f"{directory}/manifest.json"
            with findings.noting(Subject.ROOT, path, path):
                return Migration(directory, Manifest.load(state.manifest))
    return None


def _check_unpublished(files: RootFiles, state: StateDirectory) -> None:
    """A run that stopped early published nothing; `phase` was lost if its files are there."""
    if files.status(f"{state.path.name}/manifest.json") is None:
        return
    new = (each.path for each in Manifest.load(state.manifest).files if each.replaced is None)
    if any(files.status(path) is not None for path in new):
        raise FormatError(
            "is missing, though this migration is in place: write `published` into it"
        )


def held_files(made: Sequence[Migration], driver: str) -> dict[str, Held]:
    """All files that were published, by path, but for those in the stores of other drivers.

    `made` has the last migration first.
    """
    entries: dict[str, list[tuple[int, Entry]]] = {}
    for number, each in enumerate(made):
        for entry in each.manifest.files:
            if not _is_of_another(entry.path, driver):
                entries.setdefault(entry.path, []).append((number, entry))
    return {
        path: Held(found[0][1], _original(made, found), _used_before(made, found[0][0]))
        for path, found in entries.items()
    }


def held_trees(made: Sequence[Migration], driver: str, used: str | None) -> list[Tree]:
    """The trees that were published for a driver and must be as they were.

    None on a root that Docker has `used`, which leaves its traces in them; none of
    migrations after which it had been used when the next one came.
    """
    trees: dict[str, Tree] = {}
    for number, each in enumerate(made):
        if each.manifest.driver == driver and not (used or _used_before(made, number)):
            trees |= {tree.path: tree for tree in each.manifest.trees if tree.path not in trees}
    return [*trees.values()]


def was_used_before(made: Sequence[Migration]) -> bool:
    """Whether Docker >= 1.10 had been there before the last migration was complete."""
    manifests = [each.manifest for each in made]
    return any(each.used for each in manifests) or TOP in manifests[-1].listing


def _is_of_another(path: str, driver: str) -> bool:
    found = part(path)
    return found is not None and found.driver != driver


def _used_before(made: Sequence[Migration], number: int) -> str | None:
    """What showed in later migrations than `made[number]` that Docker had been there."""
    return next((each.manifest.used for each in made[:number] if each.manifest.used), None)


def _original(made: Sequence[Migration], found: Sequence[tuple[int, Entry]]) -> Original | None:
    """What the first migration replaced of those that replaced each other's work."""
    number, first = found[0]
    for earlier, entry in found[1:]:
        if first.replaced != entry.blake3:
            break
        number, first = earlier, entry
    if first.replaced is None:
        return None
    return Original(f"{made[number].directory}/saved/{first.path}", first.replaced)


def originals(held: Mapping[str, Held]) -> dict[str, tuple[Entry, Original]]:
    """The files that were replaced, as they were published last, with what was there before."""
    return {path: (each.entry, each.original) for path, each in held.items() if each.original}
