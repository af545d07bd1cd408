"""A few steps of the walk that `python -m tests.walk.migrations` does at length."""

from __future__ import annotations

import pytest

from tests.scratch import scratch
from tests.walk.migrations.walking import Walk

_STEPS = 12


@pytest.mark.parametrize(("driver", "seed"), [("overlay", 1), ("aufs", 3)])
def test_migrations_and_docker_take_turns(driver: str, seed: int) -> None:
    told: list[str] = []
    with scratch() as directory:
        done = Walk(driver, seed, directory, told.append).go(_STEPS)
    assert done.steps >= _STEPS
    assert done.verified
    assert any("docker on" in line for line in told)
    assert any(": migrate" in line for line in told)
