"""The images of a legacy store: `graph/<v1 ID>/`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import FormatError, Problem, Subject
from migrator.layer.identity import is_v1_id
from migrator.legacy.v1image import parent_of
from migrator.system.files import MAX_JSON, MAX_JSON_IN_ALL, is_regular, list_directory, read_file
from migrator.text import shown

_MAX_NOTE = 4096


@dataclass(frozen=True, slots=True)
class LegacyImage:
    """A v1 image, which is one layer.

    `json` is its v1 config as written. `checksum` is the content of that file,
    digest or not. `layersize` is in bytes; None if unknown. `record` is its
    tar-split record, if it has one.
    """

    v1_id: str
    json: bytes
    parent: str | None
    checksum: str | None
    layersize: int | None
    record: Path | None


@dataclass(frozen=True, slots=True)
class Graph:
    """All usable images by v1 ID (an image's ancestors are among them), and what is wrong."""

    images: Mapping[str, LegacyImage]
    problems: tuple[Problem, ...]

    @classmethod
    def read(cls, directory: Path) -> Graph:
        """Read `graph/`. Raises PermissionDenied or FormatError if it cannot be listed."""
        readable: dict[str, LegacyImage] = {}
        problems: list[Problem] = []
        unreadable: set[str] = set()
        left = MAX_JSON_IN_ALL
        for name, is_directory in list_directory(directory):
            if not is_v1_id(name):
                if not name.startswith(("_", ".")):
                    reason = "is ignored: its name is no image ID"
                    problems.append(Problem(Subject.IMAGE, shown(name), reason, fatal=False))
                continue
            try:
                if not is_directory:
                    raise FormatError("is not a directory in graph/")
                if left < 0:
                    raise FormatError(f"the images before it have {MAX_JSON_IN_ALL} bytes of json")
                readable[name] = _read_image(directory / name)
                left -= len(readable[name].json)
            except FormatError as error:
                unreadable.add(name)
                problems.append(Problem(Subject.IMAGE, name, str(error)))
        parents = {v1_id: image.parent for v1_id, image in readable.items()}
        broken = _broken_lines(parents, unreadable)
        problems += [Problem(Subject.IMAGE, v1_id, reason) for v1_id, reason in broken.items()]
        usable = {v1_id: image for v1_id, image in readable.items() if v1_id not in broken}
        return cls(usable, tuple(problems))

    def order(self) -> list[str]:
        """The v1 IDs in the order of Docker's migration.

        Sorted, each preceded by those of its ancestors that are not done yet,
        root first (Docker 1.10 migrate/v1/migratev1.go, migrateImages).
        """
        done: dict[str, None] = {}
        for v1_id in sorted(self.images):
            line = []
            at: str | None = v1_id
            while at is not None and at not in done:
                line.append(at)
                at = self.images[at].parent
            done.update(dict.fromkeys(reversed(line)))
        return list(done)


def _read_image(directory: Path) -> LegacyImage:
    json = read_file(directory / "json", MAX_JSON)
    if json is None:
        raise FormatError("has no json")
    record = directory / "tar-data.json.gz"
    return LegacyImage(
        v1_id=directory.name,
        json=json,
        parent=_parent(directory, json),
        checksum=_note(directory / "checksum"),
        layersize=_size(directory / "layersize"),
        record=record if is_regular(record) else None,
    )


def _parent(directory: Path, json: bytes) -> str | None:
    try:
        parent = parent_of(json)
    except FormatError as error:
        raise FormatError(error.message, subject="json") from None
    if override := read_file(directory / "parent", _MAX_NOTE):
        # Docker takes the content as it is: with a newline it names no image.
        parent = override.decode("utf-8", "replace")
    if not parent:
        return None
    if not is_v1_id(parent):
        raise FormatError(f"its parent {shown(parent)!r} is no image ID")
    return parent


def _note(path: Path) -> str | None:
    """The text of a file whose loss costs nothing but itself."""
    try:
        content = read_file(path, _MAX_NOTE)
    except FormatError:
        return None
    return None if content is None else content.decode("utf-8", "replace")


def _size(path: Path) -> int | None:
    text = _note(path)
    # 18 digits: any number that fits into Docker's int64.
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 18):
        return None
    return int(text)


def _broken_lines(parents: Mapping[str, str | None], unreadable: Collection[str]) -> dict[str, str]:
    """Why, for every image whose line of ancestors does not end at a base image.

    Takes time linear in the number of images.
    """
    culprits: dict[str, str | None] = {}
    for start in parents:
        line: dict[str, None] = {}
        at: str | None = start
        while at is not None and at in parents and at not in culprits and at not in line:
            line[at] = None
            at = parents[at]
        if at in line:
            members = list(line)
            culprits |= {member: member for member in members[members.index(at) :]}
        culprit = culprits.get(at, at) if at is not None else None
        for v1_id in line:
            culprits.setdefault(v1_id, culprit)
    broken = {}
    for v1_id, culprit in culprits.items():
        if culprit == v1_id:
            broken[v1_id] = "is its own ancestor"
        elif culprit is not None:
            kin = "parent" if parents[v1_id] == culprit else "ancestor"
            fault = "is its own ancestor" if culprit in parents else "is not in graph/"
            if culprit in unreadable:
                fault = "cannot be used"
            broken[v1_id] = f"its {kin} {culprit} {fault}"
    return broken
