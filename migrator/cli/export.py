"""`migrator export`: images for engines that cannot read the data root."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from migrator.cli.options import option, work_options
from migrator.cli.place import Work
from migrator.commands.export import FORMATS, STDOUT
from migrator.commands.export import export as export_images
from migrator.errors import UsageError
from migrator.export.compression import Algorithm
from migrator.progress import print_event
from migrator.report.export import ExportSummary
from migrator.report.writing import write_report
from migrator.text import count


@click.command()
@work_options
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@option(
    "-o", "--output", required=True, metavar="PATH", help="What to make; - for a tar to stdout."
)
@option(
    "--format",
    "layout",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="An OCI image layout (a directory), or a tar for docker load and podman load.",
)
@option(
    "--no-intermediate",
    is_flag=True,
    help="Not the images that have no name and that others build on.",
)
@option(
    "--compression",
    type=click.Choice([str(each) for each in Algorithm]),
    help="How layers are compressed.  [default: gzip for oci, else none]",
)
@option(
    "--compression-level",
    type=int,
    metavar="N",
    help="0 to 3 for gzip, 1 to 19 for zstd.  [default: 2, 3]",
)
def export(
    work: Work,
    images: tuple[str, ...],
    output: str,
    layout: str,
    no_intermediate: bool,
    compression: str | None,
    compression_level: int | None,
) -> int:
    """Write images out of a data root, which is only read and need not be migrated.

    IMAGE is a name (busybox, busybox:1, busybox@sha256:...) or an ID or its
    beginning; in a legacy store also a v1 ID. Without one all images are exported.
    """
    if output == STDOUT and layout == FORMATS[0]:
        raise UsageError(
            "an OCI image layout is a directory", hint="take --format docker-archive for a tar"
        )
    if output == STDOUT and sys.stdout.isatty():
        raise UsageError("a tar is nothing for a terminal", hint="redirect standard output")
    summary = export_images(
        work.graph,
        output,
        images,
        layout=layout,
        intermediate=not no_intermediate,
        compression=compression,
        level=compression_level,
        driver=work.storage_driver,
        storage_opts=work.storage_opts,
        work_dir=work.work_dir,
        workers=work.workers,
        progress=work.progress(),
    )
    return _finish(summary, work, on_stderr=work.quiet or output == STDOUT)


def _finish(summary: ExportSummary, work: Work, *, on_stderr: bool) -> int:
    """Print the closing summary, write the report, and give the exit code."""
    problems = work.completed_all(summary.problems)
    summary = replace(summary, exported=replace(summary.exported, problems=problems))
    document = summary.as_json()
    if work.report is not None:
        write_report(work.report, document)
    if work.tells_json:
        del document["layers"], document["images"]
        print_event(sys.stderr, "summary", **document)
        return summary.exit_code
    if work.verbose:
        for layer in summary.layers:
            hashed = layer.hashed
            size = count(hashed.digest.tar_bytes, "byte")
            click.echo(
                f"{hashed.v1_id[-64:][:12]} {layer.diff_id} {size}"
                f" {hashed.seconds:.3f} s worker {layer.worker} {hashed.method}",
                err=on_stderr,
            )
    for line in summary.problem_lines() if work.quiet else summary.lines():
        click.echo(line, err=on_stderr)
    return summary.exit_code
