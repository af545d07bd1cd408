"""Text for people: quantities, and names that cannot play tricks on a terminal."""

from __future__ import annotations

_LONGEST = 300


def quantity(count: float) -> str:
    """A number of bytes in decimal units, as disk sizes are given: `2.0 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def printable(text: str) -> str:
    """`text` with everything that is not printable as an escape, undecodable bytes included."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def shown(name: str) -> str:
    """A name out of a store as messages give it: printable, and cut where it is very long."""
    return printable(name if len(name) <= _LONGEST else name[:_LONGEST] + "...")
