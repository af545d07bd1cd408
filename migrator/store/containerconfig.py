"""The two configs of a container: `config.json` becomes `config.v2.json`, and links move.

A container that moves to another storage driver has that one's name in its config.

Docker 1.10.3: migrate/v1/migratev1.go (migrateContainers), daemon/links.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from migrator import gojson
from migrator.gojson import STRINGS, Struct, member, scan

CONFIG = "config.v2.json"
HOST_CONFIG = "hostconfig.json"

_IMAGE = "Image"
_DRIVER = "Driver"
_LINKS = "Links"


@dataclass(frozen=True, slots=True)
class _HostConfig:
    links: tuple[str, ...] | None = member(STRINGS, _LINKS)


_HOST_CONFIG = Struct(_HostConfig)


def rewrite(config_json: bytes, image_id: str, driver: str | None = None) -> bytes:
    """config.v2.json: `config_json` with `image_id` (`sha256:...`) for its `Image`.

    Top-level keys are sorted, values compacted. `driver` is the storage driver
    that the container moves to, if it moves. Raises FormatError.
    """
    config = gojson.encode_object(gojson.members(config_json) | {_IMAGE: gojson.quote(image_id)})
    return config if driver is None else with_driver(config, driver)


def with_driver(config_v2_json: bytes, driver: str) -> bytes:
    """config.v2.json with another storage driver; every other byte stays. Raises FormatError."""
    return _with(config_v2_json, _DRIVER, gojson.quote(driver))


def with_links(hostconfig_json: bytes, links: Sequence[str]) -> bytes | None:
    """hostconfig.json with its links set to `links` (`/<container>:<alias>` each).

    None if it has links, were it an empty list. Everything else in it stays byte for
    byte. Raises FormatError.
    """
    if gojson.decode(hostconfig_json, _HOST_CONFIG).links is not None:
        return None
    return with_these_links(hostconfig_json, links)


def with_these_links(hostconfig_json: bytes, links: Sequence[str]) -> bytes:
    """hostconfig.json with these links instead of its own. Raises FormatError."""
    return _with(hostconfig_json, _LINKS, STRINGS.write(tuple(links)))


def links_of(hostconfig_json: bytes) -> tuple[str, ...] | None:
    """The links in a hostconfig.json; None if it has no list of them. Raises FormatError."""
    return gojson.decode(hostconfig_json, _HOST_CONFIG).links


def with_more_links(hostconfig_json: bytes, links: Sequence[str]) -> bytes | None:
    """hostconfig.json with these links beside those that it has, sorted by alias if they are.

    None if it has all of them, in a list. Everything else in it stays byte for byte.
    Raises FormatError.
    """
    present = links_of(hostconfig_json)
    if present is None:
        return with_links(hostconfig_json, links)
    missing = [link for link in links if link not in present]
    if not missing:
        return None
    merged = [*present, *missing]
    if list(present) == sorted(present, key=alias_of):
        merged.sort(key=alias_of)
    return with_these_links(hostconfig_json, merged)


def alias_of(link: str) -> str:
    """The alias in `/<container>:<alias>`."""
    return link.rpartition(":")[2]


def _with(document: bytes, key: str, value: bytes) -> bytes:
    """A JSON object, or null, with another value for a key; every other byte stays."""
    start, end = scan.check(document)
    if document[start:end] == b"null":
        return gojson.encode_object({key: value})
    spans = list(scan.members(document, start))
    # Go takes any case of a key, and the last one of several.
    for name, at, to in reversed(spans):
        if gojson.fold(name) == gojson.fold(key):
            return document[:at] + value + document[to:]
    at = spans[-1][2] if spans else start + 1
    addition = (b"," if spans else b"") + gojson.quote(key) + b":" + value
    return document[:at] + addition + document[at:]
