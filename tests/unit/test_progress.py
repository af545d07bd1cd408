"""The ways of telling what goes on."""

from __future__ import annotations

import io
import json

import pytest

from migrator import progress
from migrator.progress import BarProgress, JsonProgress, PlainProgress, Progress, make_progress

LAYERS = ("a" * 64, "b" * 64)


def drive(shown: Progress) -> None:
    with shown:
        shown.phase("planning")
        shown.begin("hashing", 2, 2_000_000)
        for layer in LAYERS:
            shown.started(layer)
        shown.advanced(1_500_000)
        shown.advanced(-500_000)
        shown.done(LAYERS[0])
        shown.advanced(2_000_000)
        shown.done(LAYERS[1], "a file is missing")
        shown.note("nearly there")


def test_bars_show_bytes_rate_layers_and_which() -> None:
    stream = io.StringIO()
    drive(BarProgress(stream))
    text = stream.getvalue()
    assert "B/s" in text
    assert "1/2" in text
    assert "2/2" in text
    assert f"{'a' * 12} {'b' * 12}" in text
    # More than was estimated does not show as more than all.
    assert "3.00M/3.00M" in text
    assert "nearly there" in text


def test_plain_lines_say_how_far_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    stream = io.StringIO()
    drive(PlainProgress(stream))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "planning ..."
    assert "hashing: 0 of 2 layers, 1 of 2 MB, 0 MB/s, about 8 s left" in lines[1]
    assert f"layer {'b' * 12} failed: a file is missing" in lines
    assert lines[-1] == "nearly there"
    assert "\r" not in stream.getvalue()


def test_json_lines() -> None:
    stream = io.StringIO()
    drive(JsonProgress(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == [
        "phase",
        "begin",
        "layer_started",
        "layer_started",
        "progress",
        "layer_done",
        "layer_done",
        "note",
    ]
    assert all(isinstance(event["time"], float) for event in events)
    assert events[4]["bytes"] == 1_500_000
    assert events[6]["error"] == "a file is missing"


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("auto", PlainProgress),
        ("bar", BarProgress),
        ("plain", PlainProgress),
        ("json", JsonProgress),
        ("none", Progress),
    ],
)
def test_choice(way: str, kind: type[Progress]) -> None:
    assert type(make_progress(way, io.StringIO())) is kind


def test_none_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    drive(make_progress("none"))
    assert capsys.readouterr() == ("", "")
