"""Points in time as Go 1.5's time.Time reads and writes them in JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_RFC3339 = re.compile(
    rb"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2}|(?=\.[0-9]))"
    rb"(?:\.([0-9]+))?(?:Z|([+-])([0-9+-][0-9]):([0-9+-][0-9]))"
)


@dataclass(frozen=True, slots=True)
class GoTime:
    """A clock reading in its own time zone; `offset` is in minutes east of UTC.

    The default is Go's zero time.
    """

    year: int = 1
    month: int = 1
    day: int = 1
    hour: int = 0
    minute: int = 0
    second: int = 0
    nanosecond: int = 0
    offset: int = 0

    @classmethod
    def parse(cls, text: bytes) -> GoTime:
        """`text` as time.Parse(time.RFC3339, text) of Go 1.5.3 reads it.

        That takes an hour of one digit, any day up to 31 and, before a fraction, no or
        any two digits for the seconds, which are carried over; any fraction whose digits
        make a number below 10^9 (of ten digits and more that number counts as
        nanoseconds); and any two digits, or a sign and a digit, in the offset's halves.
        Raises ValueError.
        """
        match = _RFC3339.fullmatch(text)
        if match is None:
            raise ValueError("no RFC 3339 time")
        year, month, day, hour, minute, second = (
            int(digits or b"0") for digits in match.group(1, 2, 3, 4, 5, 6)
        )
        fraction, sign, zone_hours, zone_minutes = match.group(7, 8, 9, 10)
        if not 1 <= month <= 12 or day > 31 or hour > 23 or minute > 59:
            raise ValueError("time out of range")
        if second > 59 and fraction is None:
            raise ValueError("second out of range")
        # The calendar repeats after 400 years, and Python's has no year 0.
        cycle = year - 2000 - year % 400
        clock = datetime(year - cycle, month, 1, hour, minute)
        clock += timedelta(days=day - 1, seconds=second)
        offset = 60 * int(zone_hours) + int(zone_minutes) if sign else 0
        return cls(
            clock.year + cycle,
            clock.month,
            clock.day,
            clock.hour,
            clock.minute,
            clock.second,
            _nanoseconds(fraction or b"0"),
            -offset if sign == b"-" else offset,
        )

    def format(self) -> str:
        """RFC 3339 with nanoseconds (time.RFC3339Nano), as Time.MarshalJSON writes it.

        Raises ValueError for a year outside 0 to 9999.
        """
        if not 0 <= self.year <= 9999:
            raise ValueError("year out of range")
        fraction = f".{self.nanosecond:09}".rstrip("0").rstrip(".")
        hours, minutes = divmod(abs(self.offset), 60)
        zone = f"{'-' if self.offset < 0 else '+'}{hours:02}:{minutes:02}" if self.offset else "Z"
        return (
            f"{self.year:04}-{self.month:02}-{self.day:02}"
            f"T{self.hour:02}:{self.minute:02}:{self.second:02}{fraction}{zone}"
        )


def _nanoseconds(digits: bytes) -> int:
    significant = digits.ljust(9, b"0").lstrip(b"0")
    if len(significant) > 9:
        raise ValueError("fractional second out of range")
    return int(significant or b"0")
