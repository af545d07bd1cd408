"""What became of a store and its layers, for the closing summary and the report."""

from __future__ import annotations

from collections.abc import Mapping

from migrator.conversion.carrying import Carried
from migrator.errors import MigratorError, Problem, Subject
from migrator.migration.hashing import Hashed
from migrator.migration.rewriting import Rewritten
from migrator.report.summary import LayerRow, Summary


def count_migrated(summary: Summary, hashed: Hashed, rewritten: Rewritten) -> None:
    """Count in what came of a legacy store."""
    summary.images += len(rewritten.images)
    summary.distinct_images += len(set(rewritten.images.values()))
    summary.layers_new += rewritten.layers
    summary.duplicates += rewritten.duplicates
    summary.tags += rewritten.tags
    summary.containers += rewritten.containers
    summary.layers = layer_rows(hashed, rewritten.chains)


def count_carried(summary: Summary, carried: Carried) -> None:
    """Count in what came of another driver's store."""
    summary.images += carried.images
    summary.distinct_images += carried.images
    summary.layers_new += carried.layers
    summary.tags += carried.tags
    summary.containers += carried.containers


def layer_rows(hashed: Hashed, chains: Mapping[str, str]) -> list[LayerRow]:
    """A report row for every hashed layer, by v1 ID."""
    return [
        LayerRow(
            v1_id=v1_id,
            diff_id=layer.digest.diff_id,
            chain_id=chains.get(v1_id),
            size=layer.digest.size,
            tar_bytes=layer.digest.tar_bytes,
            files=layer.digest.files,
            begun=hashed.begun[v1_id],
            seconds=layer.seconds,
            worker=hashed.workers[v1_id],
            method=str(layer.method),
            kept=layer.kept,
            fault=layer.fault,
        )
        for v1_id, layer in sorted(hashed.layers.items())
    ]


def failures(hashed: Hashed) -> list[Problem]:
    """A problem for every layer that could not be hashed."""

    def problem(v1_id: str, error: MigratorError) -> Problem:
        return Problem(Subject.LAYER, v1_id, str(error), error.hint)

    return [problem(v1_id, error) for v1_id, error in sorted(hashed.failed.items())]
