"""When two modification times, in nanoseconds since 1970, count as one that was copied.

A copy may have less of a time than what it was made of. There are two such
losses, and no caller wants the other one's leniency.
"""

from __future__ import annotations

_SECOND = 10**9
_MICROSECOND = 10**3


def same_through_tar(a: int, b: int) -> bool:
    """Equal, or equal in seconds where one of them was cut down to these.

    A tar header has whole seconds unless it is extended, so what was unpacked
    from one, on either side, has no more. This is Docker's own idea when it
    looks for changes (pkg/archive/changes.go, `sameFsTime`).
    """
    return a == b or (a // _SECOND == b // _SECOND and not (a % _SECOND and b % _SECOND))


def same_through_copy(before: int, now: int) -> bool:
    """Equal, or `now` is `before` cut short by whoever copied the whole data root.

    To microseconds (utimes(2)) or to anything coarser down to seconds. Unlike
    `same_through_tar` it has a direction: what was written later in the same
    second is another time, even if `before` has whole seconds.
    """
    return before == now or (0 < before - now < _SECOND and now % _MICROSECOND == 0)
