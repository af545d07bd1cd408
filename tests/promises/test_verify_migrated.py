"""`verify` on what `migrate` makes of the stores, those without records among them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.commands.migrate import migrate
from migrator.commands.verify import verify
from migrator.layer.tarsplit import Record
from migrator.progress import Progress
from migrator.report.verification import VerificationReport
from tests.stores.verify_roots import build

FILES = {
    "aufs": "aufs/diff/{}",
    "btrfs": "btrfs/subvolumes/{}",
    "overlay": "overlay/{}/root",
    "vfs": "vfs/dir/{}",
}


def check(root: Path, *, deep: bool = False) -> VerificationReport:
    return verify(root, deep=deep, quick=False, workers=2, progress=Progress())


@pytest.mark.parametrize(
    "name",
    [
        "docker-1.7.1-aufs",
        "docker-1.7.1-aufs-trees",
        "docker-1.7.1-overlay",
        "docker-1.7.1-vfs-trees",
        "docker-1.9.1-aufs",
        "docker-1.9.1-btrfs",
        "docker-1.9.1-overlay",
        "docker-1.9.1-overlay-odd",
        "docker-1.9.1-overlay-pulled",
    ],
)
def test_a_migrated_store_passes_until_a_recorded_byte_changes(
    name: str, store_copy: Callable[[str], Path]
) -> None:
    root = store_copy(name)
    driver = migrate(root).driver
    report = check(root)
    assert (report.findings, report.driver, report.used) == ((), driver, None)
    for layer in sorted((root / "image" / driver / "layerdb" / "sha256").iterdir()):
        entries = [i for i in Record(layer / "tar-split.json.gz") if isinstance(i, tuple)]
        for inside, *_ in entries[-1:]:
            directory = FILES[driver].format((layer / "cache-id").read_text())
            path = root / directory / os.fsdecode(inside)
            data = path.read_bytes()
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
            named = {(finding.name, finding.path) for finding in check(root).findings}
            assert named == {(f"sha256:{layer.name}", str(path.relative_to(root)))}
            path.write_bytes(data)


def test_files_of_which_docker_did_not_see_that_they_changed(
    store_copy: Callable[[str], Path],
) -> None:
    # Three files of this store differ from the parent's in content alone, not in size or
    # mtime: Docker's own comparison of trees takes such files as unchanged, so no record has
    # them, and nothing but a comparison of contents shows it.
    root = store_copy("docker-1.7.1-vfs-trees")
    migrate(root)
    findings = check(root, deep=True).findings
    assert {Path(finding.path).name for finding in findings} == {"ping", "back\\slash"}
    assert {finding.reason for finding in findings} == {"has other content than in the parent"}


def test_devicemapper(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    name = "docker-1.9.1-devicemapper"
    root = build(store_copy(name), golden(name))
    assert root.verify(quick=True).findings == ()
    assert root.verify().findings == ()
