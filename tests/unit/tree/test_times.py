"""Which two times count as one, through a tar and through a copy of a data root."""

from __future__ import annotations

import pytest

from migrator.tree.mtimes import same_through_copy, same_through_tar

S = 10**9


@pytest.mark.parametrize(
    ("before", "now", "tar", "copy"),
    [
        (5 * S + 7, 5 * S + 7, True, True),
        (5 * S + 7, 5 * S, True, True),
        (5 * S, 5 * S + 7, True, False),
        (5 * S + 7001, 5 * S + 7000, False, True),
        (5 * S + 7000, 5 * S + 7001, False, False),
        (5 * S + 8, 5 * S + 7, False, False),
        (6 * S, 5 * S, False, False),
        (-S // 2, -S, True, True),
        (-S // 2, 0, False, False),
    ],
)
def test_times_that_count_as_one(before: int, now: int, tar: bool, copy: bool) -> None:
    assert same_through_tar(before, now) is tar
    assert same_through_tar(now, before) is tar
    assert same_through_copy(before, now) is copy
