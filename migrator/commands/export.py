"""Images out of a data root, legacy or content-addressed, for engines that cannot read it.

One pass over the layers' files: each layer's tar is streamed from its tar-split
record or made anew, hashed, and compressed in worker processes. What decides
the IDs is what decides them in a migration. Nothing is written in the data root.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from migrator.commands.run import Run
from migrator.drivers import Driver
from migrator.errors import Interrupted, Problem, StoreError, Subject, UsageError
from migrator.export.archive import DockerArchive
from migrator.export.compression import Algorithm, Compression
from migrator.export.destination import Output, temporary
from migrator.export.layers import ReadLayer, read_layers
from migrator.export.legacy import LegacySource
from migrator.export.naming import Selection
from migrator.export.oci import LAYOUT, OciLayout
from migrator.export.schema import faults_of
from migrator.export.source import Image, Source, collect
from migrator.export.space import check_space
from migrator.export.stores import open_stores
from migrator.progress import Progress
from migrator.report.export import Exported, ExportSummary
from migrator.system import disk
from migrator.system.host import Host

__all__ = ["FORMATS", "STDOUT", "ExportSummary", "export"]

OCI = "oci"
DOCKER_ARCHIVE = "docker-archive"
FORMATS = (OCI, DOCKER_ARCHIVE)

STDOUT = "-"
"""As output: standard output."""

_NOTHING_LEFT = "nothing was exported, and what was begun is removed"

# What a tar is called until it is complete.
_ARCHIVE = "archive.tar"

# How many of a config's faults a message names.
_FAULTS = 3


def export(
    data_root: Path | str,
    output: Path | str,
    images: Iterable[str] = (),
    *,
    layout: str = OCI,
    intermediate: bool = True,
    compression: str | None = None,
    level: int | None = None,
    driver: str = "auto",
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ExportSummary:
    """Export `images` (names or IDs; none: all) of a data root to `output`.

    `layout` is one of `FORMATS`; without `intermediate`, all but those that have
    no name and that others build on; `compression` is `gzip`, `zstd` or `none`
    (default: gzip for oci). What could not be exported is in the summary's
    `problems`. Raises UsageError for what makes no sense, any other
    `MigratorError` when nothing could be exported; `output` is not there then.
    """
    run = Run.of(workers, progress)
    packing = _compression(layout, compression, level)
    names = tuple(images)
    if names and not intermediate:
        raise UsageError("images that are named are never intermediate")
    try:
        with run.phase("read", "reading"):
            target = None
            if str(output) != STDOUT:
                target = Output(Path(output), Path(data_root), LAYOUT if layout == OCI else ())
            reader, sources = open_stores(Path(data_root), driver, storage_opts, work_dir)
        with reader.opened():
            selection = _select(reader, sources, names, intermediate, packing, run)
            exported = _export(reader, selection, target, layout, packing, work_dir, run)
    except KeyboardInterrupt:
        raise Interrupted("interrupted", hint=_NOTHING_LEFT) from None
    except Interrupted as error:
        raise Interrupted(error.message, hint=_NOTHING_LEFT) from None
    return ExportSummary(
        data_root=str(reader.data_root),
        driver=reader.name,
        layout=layout,
        output=str(output),
        compression=packing,
        host=Host.here(reader.data_root),
        workers=run.workers,
        timings=run.timings,
        exported=exported,
    )


def _compression(layout: str, name: str | None, level: int | None) -> Compression:
    if layout not in FORMATS:
        raise UsageError(f"there is no format {layout!r}", hint=f"formats: {', '.join(FORMATS)}")
    usual = Algorithm.GZIP if layout == OCI else Algorithm.NONE
    chosen = Compression.of(name or usual, level)
    if layout == DOCKER_ARCHIVE and chosen.algorithm is Algorithm.ZSTD:
        raise UsageError(
            "Docker before 23 cannot load layers that are compressed with zstd",
            hint="take gzip or none, or compress the whole archive",
        )
    return chosen


def _select(
    driver: Driver,
    sources: Sequence[Source],
    names: Sequence[str],
    intermediate: bool,
    packing: Compression,
    run: Run,
) -> Selection:
    """What is asked for. Raises UsageError for images that are not there."""
    selection = Selection(sources)
    if not names:
        selection.add_all(intermediate=intermediate)
        return selection
    selection.add(names)
    legacy = [source for source in sources if isinstance(source, LegacySource)]
    if selection.unknown_ids and legacy:
        # Image IDs of a legacy store come out of its layers: all have to be read for that.
        with run.phase("identify"):
            for source in legacy:
                every = source.layers({*source.all})
                read = read_layers(every, driver, packing, None, run.workers, run.progress)
                source.identified(read)
            selection.add(selection.unknown)
    selection.refuse_unknown()
    return selection


def _export(
    driver: Driver,
    selection: Selection,
    target: Output | None,
    layout: str,
    packing: Compression,
    work_dir: Path | None,
    run: Run,
) -> Exported:
    chosen = list(zip(selection.sources, selection.handles, strict=True))
    layers = {layer.key: layer for source, handles in chosen for layer in source.layers(handles)}
    left_out = selection.problems
    if not any(selection.handles):
        return Exported(problems=tuple(left_out))
    with contextlib.ExitStack() as stack:
        aside = stack.enter_context(target.opened() if target else temporary(work_dir))
        writer: OciLayout | DockerArchive
        if layout == OCI:
            writer = OciLayout(aside, packing)
        else:
            writer = stack.enter_context(_archive(target, aside, packing))
        # An archive that is made here holds the layers at last, too.
        needed, kept = list(layers.values()), target is not None
        check_space(aside, needed, packing, kept=kept, workers=run.workers)
        stack.enter_context(_nothing_kept())
        written: list[ReadLayer] = []

        def ready(layer: ReadLayer) -> None:
            written.append(layer)
            writer.add_layer(layer)

        with run.phase("layers"):
            read = read_layers(
                needed, driver, packing, writer.blobs, run.workers, run.progress, ready
            )
        with run.phase("write", "writing metadata"):
            images, problems = collect(chosen, read)
            problems = [*left_out, *problems]
            if not images:
                return Exported(layers=tuple(written), problems=tuple(problems))
            rejected: list[Problem] = []
            if layout == OCI:
                rejected, news = _invalid(images)
                problems += news
            writer.finish(images)
            if target is not None:
                target.publish(aside if layout == OCI else aside / _ARCHIVE)
    return Exported(tuple(images), tuple(written), tuple(rejected), tuple(problems))


@contextlib.contextmanager
def _nothing_kept() -> Iterator[None]:
    """An error that is raised inside says what is left of the export, unlike a migration's."""
    try:
        yield
    except StoreError as error:
        error.hint = _NOTHING_LEFT
        raise


@contextlib.contextmanager
def _archive(
    target: Output | None, aside: Path, compression: Compression
) -> Iterator[DockerArchive]:
    """An archive in the making, in `aside` or on standard output."""
    blobs = aside / "layers"
    disk.make_directory(blobs)
    # Not buffered: what a full disk refuses would be tried again when the file is closed.
    if target is None:
        with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as out:
            yield DockerArchive(out, Path("standard output"), blobs, compression)
        return
    path = aside / _ARCHIVE
    with disk.operation("create", path):
        file = path.open("xb", buffering=0)
    with file:
        yield DockerArchive(file, path, blobs, compression)


def _invalid(images: Iterable[Image]) -> tuple[list[Problem], list[Problem]]:
    """The configs that OCI's schema rejects: those that readers refuse, too, and the others.

    They cannot be changed, the ID is their digest.
    """
    refused: list[Problem] = []
    taken: list[Problem] = []
    for image in images:
        faults = faults_of(image.config)
        if faults:
            more = f" and {len(faults) - _FAULTS} more" if len(faults) > _FAULTS else ""
            # Those that matter first: not all are named.
            faults.sort(key=lambda fault: not fault.refused)
            reason = "; ".join(map(str, faults[:_FAULTS])) + more
            name = ", ".join(image.names) or image.image_id
            if faults[0].refused:
                refused.append(Problem(Subject.IMAGE, name, reason, fatal=False))
            else:
                reason += "; OCI's schema has it otherwise, readers take it"
                taken.append(Problem(Subject.IMAGE, name, reason, fatal=False))
    return refused, taken
