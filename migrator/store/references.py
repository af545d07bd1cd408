"""`image/<driver>/repositories.json`: names of images (Docker 1.10 `reference/store.go`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from migrator import gojson
from migrator.errors import FormatError, Subject
from migrator.layer.identity import is_digest
from migrator.store.findings import Finding, Findings
from migrator.store.imagedb import ImageStore
from migrator.store.layout import Layout
from migrator.store.lines import DIGEST, HEX
from migrator.store.stage import Stage
from migrator.system.files import inside, read_file
from migrator.system.rootfiles import MissingFileError, RootFiles, json_object

MAX_FILE = 64 << 20
"""Bytes that a file of references may have: half a million of them."""

_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_name = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*")
_tag = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MAX_NAME = 255


class References:
    """Adds references to those that the data root has; an existing one wins."""

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._path = Layout(driver).references
        self._existing = staging.current(self._path)
        self._repositories: dict[str, dict[str, str]] | None = None

    def add(self, name: str, key: str, image_id: str) -> str | None:
        """Let `key` (`NAME:TAG` or `NAME@DIGEST`) of repository `name` refer to an image.

        Returns None, or the image ID that has the reference already if it is another.
        Raises FormatError when those that are there cannot be read.
        """
        if self._repositories is None:
            self._repositories = _parse(self._existing, self._path)
        other = self._repositories.setdefault(name, {}).setdefault(key, image_id)
        return None if other == image_id else other

    def finish(self) -> None:
        """Stage the file, unless the one that is there says all."""
        repositories = self._repositories or {}
        if self._existing is None:
            self._staging.write(self._path, _encode(repositories))
        elif self._repositories not in (None, _parse(self._existing, self._path)):
            self._staging.replace(self._path, _encode(repositories))


def read_names(data_root: Path, driver: str) -> dict[str, str]:
    """The image IDs by `NAME:TAG` and `NAME@DIGEST` that a data root has. Raises FormatError."""
    path = Layout(driver).references
    repositories = _parse(read_file(inside(data_root, path), MAX_FILE), path)
    return {key: image_id for keys in repositories.values() for key, image_id in keys.items()}


def without_images(
    raw: bytes | None, path: str, is_gone: Callable[[str], bool]
) -> tuple[bytes, list[str]]:
    """A file without the references to images that are gone, and what these were, sorted.

    Raises FormatError when it is no such file.
    """
    left: dict[str, dict[str, str]] = {}
    dropped: list[str] = []
    for name, keys in _parse(raw, path).items():
        gone = {key for key, image_id in keys.items() if is_gone(image_id)}
        left[name] = {key: image_id for key, image_id in keys.items() if key not in gone}
        dropped += gone
    return _encode(left), sorted(dropped)


def _parse(raw: bytes | None, path: str) -> dict[str, dict[str, str]]:
    if raw is None:
        return {}
    try:
        repositories: Any = orjson.loads(raw)["Repositories"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        repositories = None
    if not isinstance(repositories, dict) or not all(
        isinstance(keys, dict) and all(isinstance(i, str) for i in keys.values())
        for keys in repositories.values()
    ):
        raise FormatError("not a list of repositories", subject=path)
    return repositories


def _encode(repositories: Mapping[str, Mapping[str, str]]) -> bytes:
    """As Docker writes it: keys sorted, escaped as Go does."""
    encoded = {
        name: gojson.encode_object({key: gojson.quote(i) for key, i in keys.items()})
        for name, keys in repositories.items()
        if keys
    }
    return gojson.encode_object({"Repositories": gojson.encode_object(encoded)})


@dataclass(frozen=True, slots=True)
class StoredReference:
    """`key` (`NAME:TAG` or `NAME@DIGEST`) of the repository `name` stands for an image ID.

    Nothing is wrong with it if it is `sound`.
    """

    name: str
    key: str
    image_id: str
    sound: bool


@dataclass(frozen=True, slots=True)
class ReferenceStore:
    """All references, whatever is wrong with them."""

    references: tuple[StoredReference, ...]
    findings: tuple[Finding, ...] = ()


def read_references(files: RootFiles, driver: str, images: ImageStore) -> ReferenceStore:
    """Read all references, which are to `images`."""
    findings = Findings()
    path = Layout(driver).references
    found: list[StoredReference] = []
    with findings.noting(Subject.ROOT, path, path):
        try:
            values = json_object(files.read(path))
        except MissingFileError:
            return ReferenceStore(())
        repositories = values.pop("Repositories", None)
        if values or not isinstance(repositories, dict):
            raise FormatError("is no object with Repositories, and nothing else")
        for name, references in repositories.items():
            named = False
            with findings.noting(Subject.TAG, name, path):
                _check_name(name)
                if not isinstance(references, dict):
                    raise FormatError("has no object of references")
                named = True
            for key, image_id in references.items() if isinstance(references, dict) else ():
                sound = False
                with findings.noting(Subject.TAG, key, path):
                    _check_key(name, key)
                    _check_image(images, image_id)
                    sound = named
                found.append(StoredReference(name, key, str(image_id), sound))
    return ReferenceStore(tuple(found), tuple(findings))


def _check_name(name: str) -> None:
    if len(name) > _MAX_NAME or not _name.fullmatch(name) or HEX.fullmatch(name):
        raise FormatError("is no name of a repository")


def _check_key(name: str, key: str) -> None:
    rest = key[len(name) :]
    if not key.startswith(name):
        raise FormatError(f"is no reference below {name}")
    if rest[:1] == "@" and is_digest(rest[1:]):
        return
    if rest[:1] != ":" or _tag.fullmatch(rest[1:]) is None:
        raise FormatError(f"is no tag or digest of {name}")


def _check_image(images: ImageStore, image_id: object) -> None:
    if not isinstance(image_id, str) or DIGEST.fullmatch(image_id) is None:
        raise FormatError(f"stands for {str(image_id)[:100]!r}, which is no image ID")
    if image_id not in images.present:
        raise FormatError(f"its image {image_id} is not there")
