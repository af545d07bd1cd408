"""`image/<driver>/layerdb/sha256/`: one directory a layer (Docker 1.10 `layer/filestore.go`)."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers import Driver
from migrator.errors import LayerError, Subject
from migrator.layer.identity import SHA256, chain_id
from migrator.store.findings import Finding, Findings
from migrator.store.layout import CACHE_ID, PARENT, RECORD, Layout
from migrator.store.lines import DIGEST, DIRECTORY_NAME, HEX, line
from migrator.store.stage import Stage
from migrator.system.files import is_regular
from migrator.system.rootfiles import RootFiles

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")

# What Docker 20.10 and later call a layer that is being removed.
_REMOVING = re.compile(r"[a-f0-9]{64}-[A-Za-z0-9]+-removing")

_REQUIRED = (CACHE_ID, "diff", "size", RECORD)
# Foreign layers have a descriptor.
_OPTIONAL = (PARENT, "descriptor.json")

# All but the cache-id; a foreign layer has a descriptor.
_CARRIED = ("diff", "size", PARENT, RECORD, "descriptor.json")


class LayerDB:
    """Registers layers in a stage, each chainID once: the first to come keeps it."""

    def __init__(self, staging: Stage, driver: str) -> None:
        self._staging = staging
        self._layout = Layout(driver)
        self._registered: set[str] = set()

    def register(
        self, parent: str | None, diff_id: str, size: int, cache_id: str, record: Path
    ) -> bool:
        """Register the layer `diff_id` on the chain `parent` (None: at the bottom).

        `size` in bytes; `cache_id` names the driver's directory; `record` is
        the layer's tar-split record. Returns whether it is new.
        """
        chain = chain_id(parent, diff_id)
        path = self._layout.layer(chain)
        if chain in self._registered or self._staging.present(path):
            return False
        self._registered.add(chain)
        write = self._staging.write
        write(f"{path}/{CACHE_ID}", cache_id.encode())
        write(f"{path}/diff", diff_id.encode())
        write(f"{path}/size", b"%d" % size)
        if parent is not None:
            write(f"{path}/{PARENT}", parent.encode())
        self._staging.link(f"{path}/{RECORD}", record)
        return True

    def cache_id(self, chain: str) -> str:
        """What names the directory of a layer that is registered; empty if nothing does."""
        found = self._staging.current(f"{self._layout.layer(chain)}/{CACHE_ID}") or b""
        return found.decode("utf-8", "replace")

    def move(self, chain: str, cache_id: str) -> None:
        """Have another directory hold the content of a layer that is registered."""
        self._staging.replace(f"{self._layout.layer(chain)}/{CACHE_ID}", cache_id.encode())

    def carry(self, chain: str, cache_id: str, source: Path) -> bool:
        """Register a layer as it is in another driver's store; whether it is new.

        `source` is its directory there, which was checked; `cache_id` names the
        new driver's directory.
        """
        path = self._layout.layer(chain)
        if self._staging.present(path):
            return False
        self._staging.write(f"{path}/{CACHE_ID}", cache_id.encode())
        for name in _CARRIED:
            if is_regular(source / name):
                self._staging.link(f"{path}/{name}", source / name)
        return True


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
    findings: tuple[Finding, ...] = ()


def read_layers(files: RootFiles, driver: Driver) -> LayerStore:
    """Read the layers' metadata."""
    findings = Findings()
    base = Layout(driver.name).layers
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
                findings.add(Subject.LAYER, chain, f"{path}/{CACHE_ID}", reason)
            reason = _fault(files, driver, layer.cache_id)
            if reason:
                if _is_gone_from_graph(files, layer.cache_id):
                    reason += (
                        "; its legacy image is not there either: a Docker <= 1.9 that was"
                        " started here again may have removed both"
                    )
                findings.add(Subject.LAYER, chain, f"{path}/{CACHE_ID}", reason)
                homeless.append(chain)
    for layer in layers.values():
        if layer.parent is not None and layer.parent not in present:
            path = f"{base}/{layer.chain.removeprefix(SHA256)}/{PARENT}"
            reason = f"the parent {layer.parent} is not there"
            findings.add(Subject.LAYER, layer.chain, path, reason)
    for chain in homeless:
        del layers[chain]
    return LayerStore(frozenset(present), layers, tuple(findings))


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


def _read(files: RootFiles, path: str, chain: str, findings: Findings) -> StoredLayer | None:
    """One layer; None when a part of it is missing or malformed."""
    names = set(files.names(path))
    for name in sorted(names.difference(_REQUIRED, _OPTIONAL)):
        findings.add(Subject.LAYER, chain, f"{path}/{name}", "does not belong here")
    values: dict[str, str] = {}
    for name, pattern, what in (
        ("diff", DIGEST, "diffID"),
        (PARENT, DIGEST, "chainID"),
        ("size", _SIZE, "size"),
        (CACHE_ID, DIRECTORY_NAME, "cache-id"),
    ):
        if name in names or name in _REQUIRED:
            with findings.noting(Subject.LAYER, chain, f"{path}/{name}"):
                values[name] = line(files, f"{path}/{name}", pattern, what)
    record = f"{path}/{RECORD}"
    status = files.status(record)
    if status is None or not stat.S_ISREG(status.st_mode):
        reason = "is missing" if status is None else "is no regular file"
        findings.add(Subject.LAYER, chain, record, reason)
        return None
    if len(values) < len(_REQUIRED) - 1 + (PARENT in names):
        return None
    expected = chain_id(values.get(PARENT), values["diff"])
    if expected != chain:
        reason = f"the chainID of parent and diff is {expected}, not the directory's name"
        findings.add(Subject.LAYER, chain, f"{path}/diff", reason)
        return None
    return StoredLayer(
        chain, values["diff"], values.get(PARENT), int(values["size"]), values[CACHE_ID], record
    )
