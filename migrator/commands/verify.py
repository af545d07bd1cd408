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
from migrator.errors import Subject
from migrator.progress import Progress
from migrator.report.verification import VerificationReport
from migrator.state.history import read_history
from migrator.store import overlay2
from migrator.store.choice import choose_store, stores_in
from migrator.store.findings import Finding, Findings
from migrator.store.imagedb import images_elsewhere
from migrator.store.layerdb import LayerStore, StoredLayer
from migrator.store.reader import read_store
from migrator.system.files import refuse_closed
from migrator.system.host import default_workers
from migrator.system.rootfiles import RootFiles
from migrator.verification.containers import Expectations, check_containers
from migrator.verification.contents import check_contents
from migrator.verification.deep import check_trees
from migrator.verification.distribution import check_distribution
from migrator.verification.markers import check_markers
from migrator.verification.published import compare
from migrator.verification.stacks import check_stacks


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
    with RootFiles(data_root) as files, contextlib.ExitStack() as stack:
        history = read_history(files)
        found = stores_in(files)
        files.refuse_denied()
        driver = choose_store(files, found, driver, [x.manifest.driver for x in history.made])
        source = drivers.get(driver, data_root, storage_opts, work_dir)
        if not quick:
            refuse_closed(source.directory)
            # What is missing for reading layers is said before any work.
            stack.enter_context(source.opened())
        progress.phase("comparing with the manifest")
        published = compare(files, driver, history.made)
        progress.phase("checking metadata")
        store = read_store(files, source)
        digests, faults_of_digests = check_distribution(files, driver, in_use=published.in_use)
        migrated, faults_of_markers = check_markers(files, store.images, published.untouched)
        copies: list[StoredLayer] = []
        faults_of_stacks: tuple[Finding, ...] = ()
        if driver == overlay2.NAME:
            copies, faults_of_stacks = check_stacks(files, store.layers, store.mounts.mounts)
        expected = Expectations(
            driver=driver,
            drivers={made.manifest.driver for made in history.made},
            store=store.images,
            mounts=store.mounts.mounts,
            migrated=migrated,
            replaced=published.replaced,
            untouched=published.untouched,
            elsewhere=images_elsewhere(files, driver),
        )
        containers, faults_of_containers = check_containers(files, expected)
        findings = Findings(
            (
                *history.findings,
                *published.findings,
                *store.findings,
                *faults_of_digests,
                *faults_of_markers,
                *faults_of_stacks,
                *faults_of_containers,
                *(Finding(Subject.ROOT, x, x, why) for x, why in files.unreadable.items()),
            )
        )
        files.refuse_denied()
        bytes_read = files.bytes_read
        if not quick:
            count = default_workers() if workers is None else workers
            read, differences = _read_layers(source, store.layers, copies, deep, count, progress)
            bytes_read += read
            findings.include(differences)
    return VerificationReport(
        data_root=data_root,
        driver=driver,
        deep=deep,
        quick=quick,
        findings=tuple(findings),
        layers=len(store.layers.present),
        images=len(store.images.present),
        references=len(store.references.references),
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
) -> tuple[int, list[Finding]]:
    """How many bytes of layers were read, and what was found."""
    progress.phase("reading layers")
    all_layers = [*store.layers.values(), *copies]
    bytes_read, findings = check_contents(driver, all_layers, workers, progress)
    if deep:
        progress.phase("comparing trees")
        compared, differences = check_trees(driver, store.layers, workers, progress)
        bytes_read, findings = bytes_read + compared, [*findings, *differences]
    return bytes_read, findings
