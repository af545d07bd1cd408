"""Checking a content-addressed data root (Docker >= 1.10), reading every byte of it.

Everything is looked up and computed anew from what is on the disk: chainIDs,
image IDs, the tar of every layer. A root that was migrated here is held
against the manifest of that migration as well. Nothing is ever written.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from migrator import drivers
from migrator.drivers import Driver
from migrator.errors import AS_ROOT, DataRootError, DriverError, PermissionDenied, Subject
from migrator.progress import Progress
from migrator.state.history import check_originals, read_manifests
from migrator.store import overlay2
from migrator.system.files import refuse_closed
from migrator.system.host import default_workers
from migrator.system.rootfiles import RootFiles
from migrator.text import shown
from migrator.verification.containers import Surroundings, check_containers
from migrator.verification.contents import check_contents
from migrator.verification.deep import check_trees
from migrator.verification.distribution import check_distribution
from migrator.verification.findings import Finding, Findings, VerificationReport
from migrator.verification.images import images_elsewhere, read_images
from migrator.verification.layers import LayerStore, StoredLayer, read_layers
from migrator.verification.markers import check_markers
from migrator.verification.mounts import read_mounts
from migrator.verification.published import compare
from migrator.verification.references import check_references
from migrator.verification.stacks import check_stacks

__all__ = ["Finding", "VerificationReport", "verify"]


def verify(
    data_root: Path | str,
    driver: str = "auto",
    *,
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
    deep: bool = False,
    quick: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> VerificationReport:
    """Check the store of `driver` in a data root; `auto` takes the only one there is.

    `quick` leaves the layers' content out. `deep` also compares every layer's
    directory with its record and, for drivers that keep complete trees, with
    its parent's directory. Raises DataRootError and DriverError when there is
    no such store to check; whatever is wrong in one is a finding.
    """
    begun = time.perf_counter()
    data_root = Path(data_root)
    progress = progress or Progress()
    findings = Findings()
    with RootFiles(data_root) as files, contextlib.ExitStack() as stack:
        manifests = read_manifests(files, findings)
        driver = _choose(files, driver, [made.manifest.driver for made in manifests])
        source = drivers.get(driver, data_root, storage_opts, work_dir)
        if not quick:
            refuse_closed(source.directory)
            # What is missing for reading layers is said before any work.
            stack.enter_context(source.opened())
        progress.phase("comparing with the manifest")
        check_originals(files, manifests, findings)
        published = compare(files, driver, manifests, findings)
        progress.phase("checking metadata")
        layers = read_layers(files, source, findings)
        images = read_images(files, driver, layers, findings)
        references = check_references(files, driver, images, findings)
        digests = check_distribution(files, driver, published.in_use, findings)
        migrated = check_markers(files, images, published.untouched, findings)
        mounts = read_mounts(files, source, layers, findings)
        copies = []
        if driver == overlay2.NAME:
            copies = check_stacks(files, layers, mounts, findings)
        around = Surroundings(
            driver=driver,
            drivers={made.manifest.driver for made in manifests},
            store=images,
            mounts=mounts,
            migrated=migrated,
            replaced=published.replaced,
            untouched=published.untouched,
            elsewhere=images_elsewhere(files, driver),
        )
        containers = check_containers(files, around, findings)
        for path, reason in files.unreadable.items():
            findings.add(Subject.ROOT, path, path, reason)
        _refuse_denied(files)
        bytes_read = files.bytes_read
        if not quick:
            count = default_workers() if workers is None else workers
            bytes_read += _read_layers(source, layers, copies, deep, count, progress, findings)
    return VerificationReport(
        data_root=data_root,
        driver=driver,
        deep=deep,
        quick=quick,
        findings=tuple(findings),
        layers=len(layers.present),
        images=len(images.present),
        references=references,
        containers=containers,
        digests=digests,
        published=published.files,
        used=published.used,
        bytes_read=bytes_read,
        seconds=time.perf_counter() - begun,
    )


def _read_layers(
    driver: Driver,
    store: LayerStore,
    copies: Sequence[StoredLayer],
    deep: bool,
    workers: int,
    progress: Progress,
    findings: Findings,
) -> int:
    progress.phase("reading layers")
    done = check_contents(driver, [*store.layers.values(), *copies], workers, progress, findings)
    if deep:
        progress.phase("comparing trees")
        done += check_trees(driver, store.layers, workers, progress, findings)
    return done


def _refuse_denied(files: RootFiles) -> None:
    """Raise PermissionDenied where more than a fault of the store keeps its files from us."""
    if files.denied:
        subject = shown(str(files.root / files.denied.removesuffix("/.")))
        raise PermissionDenied("may be read by root only", subject=subject, hint=AS_ROOT)


def _choose(files: RootFiles, driver: str, migrated: Sequence[str]) -> str:
    """The driver to check: of those `migrated` to the first, or the only one there is.

    Raises DataRootError without a store, DriverError if it is unclear.
    """
    found = [name for name in files.names("image") if files.is_directory(f"image/{name}/layerdb")]
    _refuse_denied(files)
    if "image" in files.unreadable:
        raise DataRootError(files.unreadable["image"], subject=str(files.root / "image"))
    if driver != "auto":
        if driver not in found:
            raise DriverError("there is no store of this driver in image/", subject=driver)
        return driver
    if made := [name for name in migrated if name in found]:
        return made[0]
    if not found:
        raise DataRootError(
            "no content-addressed store in image/",
            subject=str(files.root),
            hint="`migrator migrate` makes one of a store of Docker <= 1.9",
        )
    if len(found) > 1:
        raise DriverError(
            f"the stores of several drivers are in image/: {', '.join(found)}",
            hint="say which one with -s, --storage-driver",
        )
    return found[0]
