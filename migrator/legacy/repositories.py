"""The names of images: `repositories-<driver>`.

Names are judged as Docker 1.10 does (reference/reference.go and store.go, and
docker/distribution's reference/regexp.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from migrator import gojson
from migrator.errors import FormatError, Problem, Subject
from migrator.layer.identity import is_digest, is_v1_id
from migrator.system.files import read_file
from migrator.text import shown

_MAX_FILE = 16 << 20
_MAX_NAME = 255

_HOST_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"{_HOST_PART}(?:\.{_HOST_PART})*(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_name = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*")
_tag = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A tag or digest: `key` is `NAME:TAG` or `NAME@DIGEST` with the normalised `name`.

    `v1_id` is what it points to. `shown` is how the legacy store spells it.
    """

    name: str
    key: str
    v1_id: str
    shown: str


@dataclass(frozen=True, slots=True)
class _File:
    repositories: Mapping[str, Mapping[str, str] | None] | None = gojson.member(
        gojson.MapOf(gojson.MapOf(gojson.STRING)), "Repositories"
    )


_FILE = gojson.Struct(_File)


def read_repositories(path: Path) -> tuple[list[Reference], list[Problem]]:
    """All valid references, sorted by old name, then tag, and the others as problems.

    Several may normalise to one key: the first whose image is migrated wins.
    A missing file holds no references. Raises PermissionDenied.
    """
    references: list[Reference] = []
    problems: list[Problem] = []
    try:
        content = read_file(path, _MAX_FILE)
        if content is None:
            return [], []
        repositories = gojson.decode_first(content, _FILE).repositories or {}
    except FormatError as error:
        reason = f"holds no readable list of tags ({error.message})"
        return [], [Problem(Subject.ROOT, path.name, reason)]
    for old_name, tags in sorted(repositories.items()):
        for tag, v1_id in sorted((tags or {}).items()):
            separator = "@" if is_digest(tag) else ":"
            spelling = shown(old_name) + separator + shown(tag)
            try:
                name = normalise(old_name)
                if separator == ":" and not _tag.fullmatch(tag):
                    raise FormatError("Docker 1.10 does not accept this tag")
            except FormatError as error:
                problems.append(Problem(Subject.TAG, spelling, error.message))
            else:
                references.append(Reference(name, name + separator + tag, v1_id, spelling))
    return references, problems


def normalise(name: str) -> str:
    """The name of a repository as Docker >= 1.10 writes it.

    Raises FormatError for one that it refuses.
    """
    host, slash, remote = name.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, remote = "docker.io", name
    if remote != remote.lower():
        raise FormatError("the name must be in lower case")
    if host in ("docker.io", "index.docker.io"):
        name = remote.removeprefix("library/")
    if len(name) > _MAX_NAME:
        raise FormatError(f"the name is longer than {_MAX_NAME} characters")
    if is_v1_id(name) or name == "sha256":
        raise FormatError("the name could be taken for an image ID or a digest")
    if not _name.fullmatch(name):
        raise FormatError("Docker 1.10 does not accept this name")
    return name
