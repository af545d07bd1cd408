"""A short walk on each storage driver; `python -m tests.walk` makes long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.walk.roots import DRIVERS
from tests.walk.walking import walk

STEPS = 8


@pytest.mark.parametrize("driver", DRIVERS)
def test_migrator_and_docker_agree(driver: str, tmp_path: Path) -> None:
    done = walk(driver, steps=STEPS, seed=1, directory=tmp_path, every=STEPS)
    assert (done.steps, done.checks) == (STEPS, 1)
    assert done.images
