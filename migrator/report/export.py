"""What an export did: for people, and as JSON for programs (the README has the fields)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from migrator.errors import ExitCode, Problem
from migrator.export.compression import Algorithm, Compression
from migrator.export.layers import ReadLayer
from migrator.export.source import Image
from migrator.report.document import head
from migrator.report.problems import problem_lines, problems_as_json
from migrator.report.timing import Timings
from migrator.system.host import Host
from migrator.text import count, printable, quantity


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export.

    `rejected` are the configs that were exported as they are although OCI's
    schema rejects them and readers refuse them; `problems` all that was left out, and
    news.
    """

    images: Sequence[Image] = ()
    layers: Sequence[ReadLayer] = ()
    rejected: Sequence[Problem] = ()
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """The result of an export: what was asked for, and what came of it."""

    data_root: str
    driver: str
    layout: str
    output: str
    compression: Compression
    host: Host
    workers: int
    timings: Timings
    exported: Exported

    @property
    def images(self) -> Sequence[Image]:
        return self.exported.images

    @property
    def layers(self) -> Sequence[ReadLayer]:
        return self.exported.layers

    @property
    def rejected(self) -> Sequence[Problem]:
        return self.exported.rejected

    @property
    def problems(self) -> Sequence[Problem]:
        return self.exported.problems

    @property
    def left_out(self) -> bool:
        """Whether something that was asked for is not in the export."""
        return any(problem.fatal for problem in self.problems)

    @property
    def nothing_to_do(self) -> str | None:
        """Why there is no output although nothing went wrong."""
        return None if self.images or self.left_out else "no images there, nothing to do"

    @property
    def exit_code(self) -> ExitCode:
        """1 when nothing could be exported, 3 when something was left out or is not valid OCI."""
        if not self.images and self.left_out:
            return ExitCode.FAILED
        return ExitCode.PARTIAL if self.left_out or self.rejected else ExitCode.OK

    @property
    def tar_bytes(self) -> int:
        """Bytes of all layers' tars."""
        return sum(layer.hashed.digest.tar_bytes for layer in self.layers)

    @property
    def size(self) -> int:
        """Bytes of all layers' blobs."""
        blobs = {layer.blob.digest: layer.blob.size for layer in self.layers if layer.blob}
        return sum(blobs.values())

    def as_json(self) -> dict[str, Any]:
        """The document that `--report` writes."""
        seconds = self.timings.seconds.get("layers", 0.0)
        return {
            **head("export", self.data_root),
            "driver": self.driver,
            "format": self.layout,
            "output": printable(self.output),
            "compression": str(self.compression.algorithm),
            "compression_level": self.compression.level,
            "exit_code": int(self.exit_code),
            "nothing_to_do": self.nothing_to_do,
            "host": self.host.as_json(),
            "workers": self.workers,
            "bytes": self.tar_bytes,
            "blob_bytes": self.size,
            "seconds": self.timings.total,
            "bytes_per_second": self.tar_bytes / seconds if seconds else None,
            "phases": self.timings.seconds,
            "images": [
                {
                    "image_id": image.image_id,
                    "names": [printable(name) for name in image.names],
                    "diff_ids": list(image.diff_ids),
                }
                for image in self.images
            ],
            "layers": [_layer_as_json(layer) for layer in self.layers],
            "rejected": problems_as_json(self.rejected),
            "problems": problems_as_json(self.problems),
        }

    def lines(self) -> Iterator[str]:
        """The closing summary, a line each, safe to print on a terminal."""
        where = f"{printable(self.data_root)} (driver {self.driver})"
        if self.nothing_to_do is not None:
            yield f"{where}: {self.nothing_to_do}"
        elif not self.images:
            yield f"Nothing of {where} could be exported"
        else:
            names = sum(len(image.names) for image in self.images)
            distinct = len({layer.diff_id for layer in self.layers})
            workers = count(self.workers, "worker")
            yield f"Exported {where} to {printable(self.output)}"
            yield f"  images      {len(self.images)}, with {count(names, 'name')}"
            yield f"  layers      {distinct}, {quantity(self.tar_bytes)}{self._packed()}"
            phases = ", ".join(
                f"{name} {took:.2f} s" for name, took in self.timings.seconds.items()
            )
            yield f"  time        {self.timings.total:.2f} s with {workers} ({phases})"
        yield from self.problem_lines()

    def _packed(self) -> str:
        if self.compression.algorithm is Algorithm.NONE:
            return ", not compressed"
        return f", with {self.compression.algorithm} {quantity(self.size)}"

    def problem_lines(self) -> Iterator[str]:
        """What went wrong, and what is worth knowing."""
        yield from problem_lines(self.problems, "Not exported")
        if self.rejected:
            yield f"Exported as it is, though not valid for OCI ({len(self.rejected)}):"
        for problem in self.rejected:
            yield printable(f"  {problem}")


def _layer_as_json(layer: ReadLayer) -> dict[str, Any]:
    hashed, fault = layer.hashed, layer.hashed.fault
    return {
        "key": hashed.v1_id,
        "diff_id": layer.diff_id,
        "blob": None if layer.blob is None else layer.blob.digest,
        "blob_bytes": None if layer.blob is None else layer.blob.size,
        "size": hashed.digest.size,
        "tar_bytes": hashed.digest.tar_bytes,
        "files": hashed.digest.files,
        "begun": layer.begun,
        "seconds": hashed.seconds,
        "worker": layer.worker,
        "method": str(hashed.method),
        "fault": None if fault is None else printable(fault),
    }
