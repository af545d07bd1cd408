"""Which images are meant: names, digests and IDs as `docker` takes them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from migrator.errors import FormatError, Problem, UsageError
from migrator.export.source import Source
from migrator.layer.identity import SHA256
from migrator.legacy.repositories import normalise
from migrator.text import shown

_hex = re.compile(r"[a-f0-9]{1,64}")

# Digits of an ID as Docker shortens it. What has fewer is more likely a name.
_SHORT_ID = 12

# How many names a message gives.
_SHOWN = 5


class Selection:
    """Images that were asked for, by source, and those that cannot be exported."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.handles: list[set[str]] = [set() for _ in sources]
        self.problems: list[Problem] = []
        self.unknown: list[str] = []

    @property
    def unknown_ids(self) -> bool:
        """Whether something is unknown that looks like an image's ID, as Docker shows them."""
        return any(
            _digits(name) and (len(name) >= _SHORT_ID or name.startswith(SHA256))
            for name in self.unknown
        )

    def add_all(self, *, intermediate: bool) -> None:
        """Ask for all images, or those without the ones that only others build on."""
        for source, handles in zip(self.sources, self.handles, strict=True):
            handles |= set(source.all) if intermediate else source.main
            self.problems += source.problems

    def add(self, names: Iterable[str]) -> None:
        """Ask for images by name or ID; those that are not there are `unknown`.

        The first source that knows a name or a whole ID has it. Raises UsageError
        when the beginning of an ID fits several.
        """
        self.unknown = [name for name in names if not self._add(name)]

    def refuse_unknown(self) -> None:
        """Raise UsageError if something is unknown, naming what is like it."""
        if not self.unknown:
            return
        known = sorted({name for source in self.sources for name in (*source.names, *source.lost)})
        similar = dict.fromkeys(like for name in self.unknown for like in _similar(name, known))
        if similar:
            hint = f"there is: {', '.join(list(similar)[:_SHOWN])}"
        else:
            hint = "without a name all images are exported"
        what = ", ".join(shown(name) for name in self.unknown)
        raise UsageError(f"no such image: {what}", hint=hint)

    def _add(self, name: str) -> bool:
        digits, key = _digits(name), key_of(name)
        exact = [text for text in (digits, key) if text]
        for text in exact:
            for source, handles in zip(self.sources, self.handles, strict=True):
                handle = source.ids.get(text) or source.names.get(text)
                if handle is not None:
                    handles.add(handle)
                    return True
        if digits and self._add_by_prefix(name, digits):
            return True
        for source in self.sources:
            for text in exact:
                if text in source.lost:
                    self.problems.append(source.lost[text])
                    return True
        return False

    def _add_by_prefix(self, name: str, digits: str) -> bool:
        found = {
            (number, source.ids[each])
            for number, source in enumerate(self.sources)
            for each in source.ids
            if each.startswith(digits)
        }
        if len(found) > 1:
            some = ", ".join(sorted(handle for _, handle in found)[:_SHOWN])
            raise UsageError(f"{name} is the beginning of several images' IDs: {some}")
        for number, handle in found:
            self.handles[number].add(handle)
        return bool(found)


def key_of(name: str) -> str | None:
    """`NAME:TAG` or `NAME@DIGEST` as stores write it; None if it cannot be one.

    `latest` is the tag that needs not be said; of a name with both, the digest counts.
    """
    name, at, digest = name.partition("@")
    front, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        name = front
    else:
        tag = "latest"
    try:
        return normalise(name) + (at + digest if at else f":{tag}")
    except FormatError:
        return None


def full_name(name: str) -> str:
    """A name that Docker shows, with the registry and path that it leaves out."""
    host, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    if "." in host or ":" in host or host == "localhost":
        return name
    return f"docker.io/{name}"


def _digits(name: str) -> str:
    """The digits of an ID or of its beginning; empty if it is none."""
    digits = name.removeprefix(SHA256)
    return digits if _hex.fullmatch(digits) else ""


def _similar(name: str, known: Sequence[str]) -> list[str]:
    """Other tags of the same repository, else names that look alike."""
    key = key_of(name) or name
    repository = key.partition("@")[0].rpartition(":")[0]
    tags = [each for each in known if each.startswith((f"{repository}:", f"{repository}@"))]
    return tags or difflib.get_close_matches(key, known, _SHOWN, 0.5)
