"""A few inputs for every fuzzed parser; `python -m tests.fuzz` gives as many as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from migrator.errors import FormatError
from tests.fuzz import campaign, watch
from tests.fuzz.parsers import PARSERS, Files, Parser, clean_up

INPUTS = 2500
"""In all; some ten seconds."""

_WHOLE = sum(parser.share for parser in PARSERS.values())


@pytest.fixture(scope="module", autouse=True)
def workplace() -> Iterator[None]:
    yield
    clean_up()


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_but_our_errors(name: str) -> None:
    result = campaign.run(name, -(-INPUTS * PARSERS[name].share // _WHOLE), seed=0)
    assert not [finding.traceback for finding in result.findings]


@pytest.mark.parametrize("name", PARSERS)
def test_inputs_can_be_made_again(name: str) -> None:
    first, second = (PARSERS[name].make(Random("again")) for _ in range(2))
    assert first == second


def take(files: Files) -> None:
    data = files["data"]
    if data == b"refused":
        raise FormatError("not this one")
    if data == b"hang":
        while True:
            pass
    if data == b"deep":
        take(files)
    if data == b"large":
        bytearray(2 * watch.MEMORY)


@pytest.mark.parametrize(
    ("data", "failed_with"),
    [
        ("fine", ""),
        ("refused", ""),
        ("hang", "TooLong"),
        ("deep", "Recursion"),
        ("large", "Memory"),
    ],
)
def test_what_is_a_finding(data: str, failed_with: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SECONDS", 0.2)
    parser = Parser(lambda random: {}, take, 1)
    with watch.limits():
        verdict = watch.judge(parser, {"data": data.encode()})
    assert (verdict.failed_at or "").startswith(failed_with)
    assert (verdict.failed_at is not None) is (verdict.traceback != "") is (failed_with != "")
    assert verdict.refused is (data == "refused")
