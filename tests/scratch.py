"""Directories to work in, in memory where that is possible: there, fsync costs nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = "MIGRATOR_TEST_MEMORY"
"""The variable with the directory to use in memory, where it is not /dev/shm itself."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory to work in, in memory if possible."""
    place = Path(os.environ.get(MEMORY, "/dev/shm"))
    with tempfile.TemporaryDirectory(
        prefix="migrator-test-", dir=place if place.is_dir() else None
    ) as directory:
        yield Path(directory)
