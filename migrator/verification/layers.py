"""`image/<driver>/layerdb/sha256/`: one directory a layer (Docker 1.10 `layer/filestore.go`)."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass

from migrator.drivers import Driver
from migrator.errors import FormatError, LayerError, Subject
from migrator.layer.identity import SHA256, chain_id
from migrator.system.rootfiles import RootFiles
from migrator.verification.findings import Findings

HEX = re.compile(r"[a-f0-9]{64}")
DIGEST = re.compile(r"sha256:[a-f0-9]{64}")

# 64 hex digits, or BuildKit's shorter names; either may have "-init" behind it.
DIRECTORY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")

# What Docker 20.10 and later call a layer that is being removed.
_REMOVING = re.compile(r"[a-f0-9]{64}-[A-Za-z0-9]+-removing")

_REQUIRED = ("cache-id", "diff", "size", "tar-split.json.gz")
# Foreign layers have a descriptor.
_OPTIONAL = ("parent", "descriptor.json")

_MAX_LINE = 4096


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer whose files are well-formed; digests with `sha256:`, `size` in bytes."""

    chain: str
    diff: str
    parent: str | None
    size: int
    cache_id: str
    record: str


@dataclass(frozen=True, slots=True)
class LayerStore:
    """All layers by chainID: those `present`, and of them those that can be read."""

    present: frozenset[str]
    layers: dict[str, StoredLayer]


def read_layers(files: RootFiles, driver: Driver, findings: Findings) -> LayerStore:
    """Read and check the layers' metadata."""
    base = f"image/{driver.name}/layerdb/sha256"
    present: set[str] = set()
    layers: dict[str, StoredLayer] = {}
    holders: dict[str, str] = {}
    homeless: list[str] = []
    for name in files.names(base):
        path = f"{base}/{name}"
        if HEX.fullmatch(name) is None:
            if _REMOVING.fullmatch(name) is None:
                findings.add(Subject.LAYER, name, path, "the name is no chainID")
            continue
        chain = SHA256 + name
        present.add(chain)
        with findings.noting(Subject.LAYER, chain, path):
            layer = _read(files, path, chain, findings)
            if layer is None:
                continue
            layers[chain] = layer
            other = holders.setdefault(layer.cache_id, chain)
            if other != chain:
                reason = f"the layer {other} has the cache-id {layer.cache_id} too"
                findings.add(Subject.LAYER, chain, f"{path}/cache-id", reason)
            reason = _fault(files, driver, layer.cache_id)
            if reason:
                if _is_gone_from_graph(files, layer.cache_id):
                    reason += (
                        "; its legacy image is not there either: a Docker <= 1.9 that was"
                        " started here again may have removed both"
                    )
                findings.add(Subject.LAYER, chain, f"{path}/cache-id", reason)
                homeless.append(chain)
    for layer in layers.values():
        if layer.parent is not None and layer.parent not in present:
            path = f"{base}/{layer.chain.removeprefix(SHA256)}/parent"
            reason = f"the parent {layer.parent} is not there"
            findings.add(Subject.LAYER, layer.chain, path, reason)
    for chain in homeless:
        del layers[chain]
    return LayerStore(frozenset(present), layers)


def _is_gone_from_graph(files: RootFiles, cache_id: str) -> bool:
    """Whether a legacy store has other images, but not one of this name."""
    legacy = files.names("graph")
    return any(map(HEX.fullmatch, legacy)) and cache_id not in legacy


def _fault(files: RootFiles, driver: Driver, cache_id: str) -> str:
    """What is wrong with what a cache-id names; empty if nothing is."""
    if driver.files is not None:
        where = driver.shown(cache_id)
        if not files.is_directory(where):
            return f"there is no directory {where}"
    elif driver.holder is not None:
        where = driver.holder.format(cache_id)
        if files.status(where) is None:
            return f"there is no directory {where}"
    try:
        driver.check(cache_id)
    except LayerError as error:
        return str(error)
    return ""


def line(files: RootFiles, path: str, pattern: re.Pattern[str], what: str) -> str:
    """The content of a one-line file. Raises FormatError when it is not `what`."""
    text = files.read(path, _MAX_LINE).decode("utf-8", "replace")
    if pattern.fullmatch(text) is None:
        raise FormatError(f"says {text[:100]!r}, which is no {what}")
    return text


def _read(files: RootFiles, path: str, chain: str, findings: Findings) -> StoredLayer | None:
    """One layer; None when a part of it is missing or malformed."""
    names = set(files.names(path))
    for name in sorted(names.difference(_REQUIRED, _OPTIONAL)):
        findings.add(Subject.LAYER, chain, f"{path}/{name}", "does not belong here")
    values: dict[str, str] = {}
    for name, pattern, what in (
        ("diff", DIGEST, "diffID"),
        ("parent", DIGEST, "chainID"),
        ("size", _SIZE, "size"),
        ("cache-id", DIRECTORY_NAME, "cache-id"),
    ):
        if name in names or name in _REQUIRED:
            with findings.noting(Subject.LAYER, chain, f"{path}/{name}"):
                values[name] = line(files, f"{path}/{name}", pattern, what)
    record = f"{path}/tar-split.json.gz"
    status = files.status(record)
    if status is None or not stat.S_ISREG(status.st_mode):
        reason = "is missing" if status is None else "is no regular file"
        findings.add(Subject.LAYER, chain, record, reason)
        return None
    if len(values) < len(_REQUIRED) - 1 + ("parent" in names):
        return None
    expected = chain_id(values.get("parent"), values["diff"])
    if expected != chain:
        reason = f"the chainID of parent and diff is {expected}, not the directory's name"
        findings.add(Subject.LAYER, chain, f"{path}/diff", reason)
        return None
    return StoredLayer(
        chain, values["diff"], values.get("parent"), int(values["size"]), values["cache-id"], record
    )
