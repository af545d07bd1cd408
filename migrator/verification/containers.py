"""`containers/<id>/config.v2.json` and `hostconfig.json`: what Docker never changes in them.

Docker writes both anew whenever a container's state, name or networks change,
in its own order of keys and with keys of its version. What a container was
created with stays, and can be held against the legacy `config.json` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from migrator.errors import FormatError, Subject
from migrator.state.history import Original
from migrator.state.manifest import Entry
from migrator.store.containerconfig import CONFIG, HOST_CONFIG, with_these_links
from migrator.store.findings import Finding, Findings
from migrator.store.imagedb import ImageStore
from migrator.store.lines import DIGEST
from migrator.store.mounts import Mount
from migrator.system.rootfiles import MissingFileError, RootFiles, json_object

# Hostname and MacAddress are not among them: starting a container may set them.
_FACTS = ("ID", "Created", "Path", "Args")
_DRIVER_FACT = ("Driver",)
_CONFIG_FACTS = (
    *("User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "Tty", "OpenStdin"),
    *("StdinOnce", "Env", "Cmd", "Image", "Volumes", "WorkingDir", "Entrypoint", "OnBuild"),
    *("Labels", "StopSignal"),
)
# `docker update` changes resources and the restart policy, a start may fill in log and IPC mode.
_HOST_FACTS = (
    *("Binds", "NetworkMode", "PortBindings", "PublishAllPorts", "Privileged", "ReadonlyRootfs"),
    *("CapAdd", "CapDrop", "Devices", "Dns", "DnsSearch", "ExtraHosts", "VolumesFrom"),
)
# A value may be one string where Docker writes a list of strings.
_STRING_OR_LIST = ("Cmd", "Entrypoint")
# Three names of the default network, by Docker's version.
_DEFAULT_NETWORK = (None, "default", "bridge")

# Values lie a few levels deep; nothing below this is compared.
_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Expectations:
    """What containers are held against.

    `drivers` are those that containers were moved to, `mounts` the containers'
    writable layers, `migrated` gives the image ID of a v1 ID. `replaced` are the
    files that were, as they were published, with what was there before. On an
    `untouched` root nobody can have removed a container's image since; but if the
    root has stores of other drivers, and their images (those `elsewhere`, a set a
    store) are others, it was missing before.
    """

    driver: str
    drivers: Set[str]
    store: ImageStore
    mounts: Mapping[str, Mount]
    migrated: Mapping[str, str]
    replaced: Mapping[str, tuple[Entry, Original]]
    untouched: bool
    elsewhere: Sequence[Set[str]]


def check_containers(files: RootFiles, expected: Expectations) -> tuple[int, tuple[Finding, ...]]:
    """Check all containers that have a config.v2.json: how many there are, and what is wrong."""
    findings = Findings()
    count = 0
    for name in files.names("containers"):
        path = f"containers/{name}/{CONFIG}"
        with findings.noting(Subject.CONTAINER, name, path):
            if files.status(path) is None:
                continue
            count += 1
            config = json_object(files.read(path))
            _check_config(files, expected, name, config)
        path = f"containers/{name}/{HOST_CONFIG}"
        with findings.noting(Subject.CONTAINER, name, path):
            _check_host_config(files, path, expected)
    return count, tuple(findings)


def _check_config(
    files: RootFiles, expected: Expectations, name: str, config: dict[str, Any]
) -> None:
    if config.get("ID") != name:
        raise FormatError(f"has the ID {str(config.get('ID'))[:100]!r}")
    legacy = _legacy_config(files, name)
    _compare(legacy, config, _FACTS)
    if config.get("Driver") not in expected.drivers:
        _compare(legacy, config, _DRIVER_FACT)
    _compare(_section(legacy, "Config"), _section(config, "Config"), _CONFIG_FACTS)
    image_id = config.get("Image")
    # A build `FROM scratch` has containers of no image.
    nameless = image_id == "" and not legacy
    if not isinstance(image_id, str) or not (nameless or DIGEST.fullmatch(image_id)):
        raise FormatError(f"has {str(image_id)[:100]!r} as Image, which is no image ID")
    became = expected.migrated.get(str(legacy.get("Image")))
    if became is not None and image_id != became:
        raise FormatError(f"has the Image {image_id}, but its legacy image became {became}")
    if config.get("Driver") in (expected.driver, "", None):
        _check_layer(expected, name, config, image_id)


def _legacy_config(files: RootFiles, name: str) -> dict[str, Any]:
    """The container's config.json; empty without one, or one that is no use."""
    try:
        return json_object(files.read(f"containers/{name}/config.json"))
    except FormatError:
        return {}


def _check_layer(expected: Expectations, name: str, config: dict[str, Any], image_id: str) -> None:
    image = expected.store.images.get(image_id)
    if image_id and image_id not in expected.store.present and expected.untouched:
        was_there = any(image_id in images for images in expected.elsewhere)
        if was_there or not expected.elsewhere:
            raise FormatError(f"its image {image_id} is not there")
    if name not in expected.mounts:
        state = _section(config, "State")
        if not (state.get("Dead") or state.get("RemovalInProgress")):
            raise FormatError("the container has no mount in the layerdb")
    elif image is not None and (parent := expected.mounts[name].parent) != image.chain:
        raise FormatError(f"its writable layer lies on {parent}, its image is {image.chain}")


def _check_host_config(files: RootFiles, path: str, expected: Expectations) -> None:
    try:
        data = files.read(path)
    except MissingFileError:
        return
    config = json_object(data)
    if path not in expected.replaced:
        return
    entry, kept = expected.replaced[path]
    if blake3(data).hexdigest() == entry.blake3:
        return
    original = files.read(kept.path)
    if blake3(original).hexdigest() != kept.blake3:
        raise FormatError(f"its original, {kept.path}, is damaged")
    before = json_object(original)
    for section in (before, config):
        if _plain(section.get("NetworkMode")) in _DEFAULT_NETWORK:
            section["NetworkMode"] = None
    _compare(before, config, _HOST_FACTS)
    links = config.get("Links") or []
    if not isinstance(links, list) or not all(isinstance(link, str) for link in links):
        raise FormatError("has no list of strings as Links")
    if blake3(with_these_links(original, links)).hexdigest() != entry.blake3:
        raise FormatError("its Links are not those that the migration wrote")


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _compare(before: dict[str, Any], now: dict[str, Any], facts: tuple[str, ...]) -> None:
    """Raise FormatError unless the facts that `before` has are the same `now`.

    Go matches keys whatever their case, and Docker writes them as they should be.
    """
    old = {key.lower(): value for key, value in before.items()}
    new = {key.lower(): value for key, value in now.items()}
    for fact in facts:
        if fact.lower() not in old:
            continue
        was, is_now = (_plain(values.get(fact.lower())) for values in (old, new))
        if fact in _STRING_OR_LIST:
            was, is_now = ([value] if isinstance(value, str) else value for value in (was, is_now))
        if was != is_now:
            raise FormatError(f"has another {fact} than the container was created with")


def _plain(value: Any, depth: int = _DEPTH) -> Any:
    """A value as far as it means something: empty ones are None, lone surrogates U+FFFD."""
    if not value or not depth:
        return None
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, depth - 1) for key, item in value.items()}
    return value
