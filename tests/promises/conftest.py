"""Tests of what is promised: their files are in memory, where nothing waits for a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scratch import scratch


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory that is gone after the test."""
    with scratch() as directory:
        yield directory
