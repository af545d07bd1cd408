"""Text for people: quantities, and names that cannot play tricks on a terminal."""

from __future__ import annotations

_LONGEST = 300


def quantity(amount: float) -> str:
    """A number of bytes in decimal units, as disk sizes are given: `2.0 GB`."""
    if amount < 1000:
        return count(round(amount), "byte")
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 1000:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def count(number: int, singular: str, plural: str = "") -> str:
    """A number of things: `1 layer`, `2 layers`; `plural` is for what takes no plain s."""
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"


def printable(text: str) -> str:
    """`text` with all that is not printable as an escape; a byte that is no UTF-8 as `\\xNN`.

    What it returns can be shown on a terminal and encoded as UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def shown(name: str) -> str:
    """A name out of a store as messages give it: printable, and cut where it is very long."""
    return printable(name if len(name) <= _LONGEST else name[:_LONGEST] + "...")


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        # How Python carries bytes that it could not decode (PEP 383).
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode()
