"""Text that is shown to people, whatever a store calls its things."""

from __future__ import annotations

import os

import pytest

from migrator.text import count, printable, quantity, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("café/Ω", "café/Ω"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\x7f", "a\\nb\\tc\\x7f"),
        ("\u202eevil", "\\u202eevil"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
    ],
)
def test_nothing_unprintable_comes_through(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(text).encode("utf-8")


def test_very_long_names_are_cut() -> None:
    assert len(shown("x" * 100_000)) < 400


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 bytes"), (999, "999 bytes"), (2_000_000_000, "2.0 GB"), (5e15, "5000.0 TB")],
)
def test_quantity(count: float, expected: str) -> None:
    assert quantity(count) == expected


def test_one_and_many() -> None:
    assert [count(n, "layer") for n in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]
    assert count(1, "directory", "directories") == "1 directory"
    assert count(2, "directory", "directories") == "2 directories"
    assert (quantity(1), quantity(2)) == ("1 byte", "2 bytes")
