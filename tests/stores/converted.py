"""Stores to migrate to overlay2, and what must be in `overlay2/` after it, worked out anew here."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from legacy_fixtures.build import Built
from migrator.commands import migrate as migration
from migrator.report.summary import Summary

Modes = dict[str, int]

LAYERS = "image/overlay2/layerdb/sha256"


def convert(root: Path, driver: str = "auto", workers: int = 0) -> Summary:
    """Migrate to overlay2 in this process."""
    return migration.migrate(root, driver, target_driver="overlay2", workers=workers)


def as_docker_left_it(built: Built) -> Path:
    """Make a legacy store one that Docker >= 1.10 might have made, without traces of ours."""
    root = built.root
    migration.migrate(root, workers=0)
    for path in (".migrator", "graph", "linkgraph.db", ".migration-v1-tags"):
        _remove(root / path)
    for path in (*root.glob("repositories-*"), *root.glob("containers/*/config.json")):
        _remove(path)
    _remove(root / ".migration-v1-images.json")
    return root


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def text(path: Path) -> str | None:
    """A small file's content; None if there is none."""
    return path.read_text() if path.exists() else None


def stack(root: Path, chain: str | None) -> list[str]:
    """The directories of a layer and all below it, nearest first, by way of the layerdb."""
    found = []
    while chain is not None:
        layer = root / LAYERS / chain.removeprefix("sha256:")
        found.append((layer / "cache-id").read_text())
        chain = text(layer / "parent")
    return found


def check_overlay2(root: Path) -> None:
    """What Docker's driver expects: short names, `lower` of the layers below, modes."""
    directory = root / "overlay2"
    below: dict[str, list[str]] = {}
    for layer in (root / LAYERS).iterdir():
        name, *others = stack(root, f"sha256:{layer.name}")
        below[name] = others
    mutable = set()
    for mount in (root / "image/overlay2/layerdb").glob("mounts/*"):
        chain = text(mount / "parent")
        others = [] if chain is None else stack(root, chain)
        init, writable = text(mount / "init-id"), (mount / "mount-id").read_text()
        if init is not None:
            below[init] = others
            others = [init, *others]
        below[writable] = others
        mutable |= {init, writable}
    short = {name: (directory / name / "link").read_text() for name in below}
    assert {entry.name for entry in directory.iterdir()} == {*below, "l"}
    assert {link.name: os.readlink(link) for link in (directory / "l").iterdir()} == {
        short[name]: f"../{name}/diff" for name in below
    }
    for name, others in below.items():
        assert len(short[name]) == 26
        lower = ":".join(f"l/{short[other]}" for other in others)
        assert text(directory / name / "lower") == (lower or None)
        expected: Modes = {"diff": 0o755, "link": 0o644}
        if others:
            expected |= {"lower": 0o644, "work": 0o700, "merged": 0o700}
        if name not in mutable:
            expected["committed"] = 0o600
        assert modes(directory / name) == expected
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o710
    assert stat.S_IMODE(directory.stat().st_mode) == 0o710
    assert stat.S_IMODE((directory / "l").stat().st_mode) == 0o700


def modes(directory: Path) -> Modes:
    """The permissions of what is in a directory."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
