"""The two configs of a container: `config.json` becomes `config.v2.json`, and links move.

Docker 1.10.3: migrate/v1/migratev1.go (migrateContainers), daemon/links.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from migrator import gojson
from migrator.gojson import STRINGS, Struct, member, scan

_IMAGE = "Image"
_LINKS = "Links"


@dataclass(frozen=True, slots=True)
class _HostConfig:
    links: tuple[str, ...] | None = member(STRINGS, _LINKS)


_HOST_CONFIG = Struct(_HostConfig)


def rewrite(config_json: bytes, image_id: str) -> bytes:
    """config.v2.json: `config_json` with `image_id` (`sha256:...`) for its `Image`.

    Top-level keys are sorted, values compacted. Raises FormatError.
    """
    return gojson.encode_object(gojson.members(config_json) | {_IMAGE: gojson.quote(image_id)})


def with_links(hostconfig_json: bytes, links: Sequence[str]) -> bytes | None:
    """hostconfig.json with its links set to `links` (`/<container>:<alias>` each).

    None if it has links, were it an empty list. Everything else in it stays byte for
    byte. Raises FormatError.
    """
    if gojson.decode(hostconfig_json, _HOST_CONFIG).links is not None:
        return None
    value = STRINGS.write(tuple(links))
    start, end = scan.check(hostconfig_json)
    if hostconfig_json[start:end] == b"null":
        return gojson.encode_object({_LINKS: value})
    spans = list(scan.members(hostconfig_json, start))
    # The last one of several counts: links are null, so its value is.
    for key, at, to in reversed(spans):
        if gojson.fold(key) == gojson.fold(_LINKS):
            return hostconfig_json[:at] + value + hostconfig_json[to:]
    at = spans[-1][2] if spans else start + 1
    addition = (b"," if spans else b"") + gojson.quote(_LINKS) + b":" + value
    return hostconfig_json[:at] + addition + hostconfig_json[at:]
