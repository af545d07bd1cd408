"""Where the parts of a new store are put."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Stage(Protocol):
    """Takes files by their path relative to the data root.

    A protocol, so that the same code decides IDs and tags whether a store is
    made (`migrator.state.staging`) or only described, as an export does with
    nothing but memory.
    """

    def present(self, path: str) -> bool:
        """Whether the data root has something at `path`, or this stage."""

    def current(self, path: str) -> bytes | None:
        """What is at `path`, as staged or else as the data root has it; None when nothing."""

    def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Put a new file there."""

    def link(self, path: str, source: Path) -> None:
        """Put a file there that has the content of `source`."""

    def replace(self, path: str, data: bytes) -> None:
        """Put other content there for a file that is `present`."""
