"""`image/<driver>/repositories.json`: tags and digests (Docker 1.10 `reference/store.go`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from migrator.errors import FormatError, Subject
from migrator.layer.identity import is_digest
from migrator.system.rootfiles import MissingFileError, RootFiles, json_object
from migrator.verification.findings import Findings
from migrator.verification.images import ImageStore
from migrator.verification.layers import DIGEST, HEX

_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_name = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*")
_tag = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class StoredReference:
    """`key` (`NAME:TAG` or `NAME@DIGEST`) of the repository `name` stands for an image ID.

    Nothing is wrong with it if it is `sound`.
    """

    name: str
    key: str
    image_id: str
    sound: bool


def check_references(files: RootFiles, driver: str, store: ImageStore, findings: Findings) -> int:
    """Check all references; returns how many there are."""
    return sum(1 for _ in read_references(files, driver, store, findings))


def read_references(
    files: RootFiles, driver: str, store: ImageStore, findings: Findings
) -> Iterator[StoredReference]:
    """Read and check all references."""
    path = f"image/{driver}/repositories.json"
    with findings.noting(Subject.ROOT, path, path):
        try:
            values = json_object(files.read(path))
        except MissingFileError:
            return
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
                    _check_image(store, image_id)
                    sound = named
                yield StoredReference(name, key, str(image_id), sound)


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


def _check_image(store: ImageStore, image_id: object) -> None:
    if not isinstance(image_id, str) or DIGEST.fullmatch(image_id) is None:
        raise FormatError(f"stands for {str(image_id)[:100]!r}, which is no image ID")
    if image_id not in store.present:
        raise FormatError(f"its image {image_id} is not there")
