"""Telling the user what goes on, on standard error, so that standard output stays clean.

Four ways: bars on a terminal, a line every few seconds elsewhere, JSON lines
for a program that watches, and nothing.
"""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

import orjson
from tqdm import tqdm

from migrator.text import count, printable

# Seconds between two lines (or two JSON progress events).
_INTERVAL = 5.0
_JSON_INTERVAL = 1.0


class Progress:
    """Tells nothing; the other ways override what they show.

    A run calls `phase` for each step, `begin` before work on layers, then
    `started`, `advanced` (bytes; negative for work that was lost) and `done`
    for each, and `end`. `note` is for a single event worth a line.
    """

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def phase(self, name: str) -> None:
        """A step of the procedure begins."""

    def begin(self, what: str, layers: int, size: int) -> None:
        """Work on `layers` layers of `size` bytes in all (an estimate) begins."""

    def started(self, layer: str) -> None:
        """A worker took on a layer."""

    def advanced(self, amount: int) -> None:
        """So many bytes more are done."""

    def done(self, layer: str, error: str | None = None) -> None:
        """A layer is finished, or failed."""

    def note(self, text: str) -> None:
        """Something happened that is worth a line."""

    def end(self) -> None:
        """No more work on layers."""


class BarProgress(Progress):
    """tqdm bars: bytes with rate and remaining time, layers, and the ones in work."""

    def __init__(self, stream: TextIO) -> None:
        # Its monitor is a thread, and workers are forked.
        tqdm.monitor_interval = 0
        self._stream = stream
        self._bytes: tqdm[Any] | None = None
        self._layers: tqdm[Any] | None = None
        self._active: list[str] = []

    def begin(self, what: str, layers: int, size: int) -> None:
        self._bytes = tqdm(
            desc=what, total=size, unit="B", unit_scale=True, file=self._stream, dynamic_ncols=True
        )
        self._layers = tqdm(
            desc="layers", total=layers, unit="", position=1, file=self._stream, dynamic_ncols=True
        )

    def started(self, layer: str) -> None:
        self._active.append(layer)
        self._show_active()

    def advanced(self, amount: int) -> None:
        if self._bytes is not None:
            if self._bytes.total is not None and self._bytes.n + amount > self._bytes.total:
                self._bytes.total = self._bytes.n + amount
            self._bytes.update(amount)

    def done(self, layer: str, error: str | None = None) -> None:
        self._active.remove(layer)
        if self._layers is not None:
            self._layers.update()
        self._show_active()

    def note(self, text: str) -> None:
        tqdm.write(printable(text), file=self._stream)

    def end(self) -> None:
        for bar in (self._layers, self._bytes):
            if bar is not None:
                bar.close()
        self._bytes = self._layers = None
        self._active.clear()

    def _show_active(self) -> None:
        if self._layers is not None:
            shown = " ".join(layer[:12] for layer in self._active[:4])
            more = len(self._active) - 4
            self._layers.set_postfix_str(shown + (f" +{more}" if more > 0 else ""), refresh=True)


class PlainProgress(Progress):
    """A line for each step, and one every few seconds while layers are worked on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._what = ""
        self._layers = self._layers_done = 0
        self._size = self._size_done = 0
        self._active: list[str] = []
        self._begun = self._told = 0.0

    def phase(self, name: str) -> None:
        self.note(f"{name} ...")

    def begin(self, what: str, layers: int, size: int) -> None:
        self._what, self._layers, self._size = what, layers, size
        self._layers_done = self._size_done = 0
        self._begun = self._told = time.monotonic()

    def started(self, layer: str) -> None:
        self._active.append(layer)

    def advanced(self, amount: int) -> None:
        self._size_done += amount
        self._tell()

    def done(self, layer: str, error: str | None = None) -> None:
        self._active.remove(layer)
        self._layers_done += 1
        if error is not None:
            self.note(f"layer {layer[:12]} failed: {error}")
        self._tell()

    def note(self, text: str) -> None:
        print(printable(text), file=self._stream, flush=True)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told < _INTERVAL:
            return
        self._told = now
        rate = self._size_done / (now - self._begun)
        left = max(self._size - self._size_done, 0) / rate if rate > 0 else 0
        self.note(
            f"{self._what}: {self._layers_done} of {count(self._layers, 'layer')},"
            f" {self._size_done / 1e6:.0f} of {max(self._size, self._size_done) / 1e6:.0f} MB,"
            f" {rate / 1e6:.0f} MB/s, about {left:.0f} s left,"
            f" working on {' '.join(layer[:12] for layer in self._active)}"
        )


class JsonProgress(Progress):
    """One JSON object a line: `time` (Unix seconds), `event`, and what belongs to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._layers = self._layers_done = 0
        self._size = self._size_done = 0
        self._told = 0.0

    def phase(self, name: str) -> None:
        self._tell("phase", phase=name)

    def begin(self, what: str, layers: int, size: int) -> None:
        self._layers, self._size = layers, size
        self._layers_done = self._size_done = 0
        self._tell("begin", what=what, layers=layers, bytes=size)

    def started(self, layer: str) -> None:
        self._tell("layer_started", layer=layer)

    def advanced(self, amount: int) -> None:
        self._size_done += amount
        if time.monotonic() - self._told >= _JSON_INTERVAL:
            self._told = time.monotonic()
            self._tell(
                "progress",
                bytes=self._size_done,
                bytes_total=max(self._size, self._size_done),
                layers=self._layers_done,
                layers_total=self._layers,
            )

    def done(self, layer: str, error: str | None = None) -> None:
        self._layers_done += 1
        self._tell("layer_done", layer=layer, error=None if error is None else printable(error))

    def note(self, text: str) -> None:
        self._tell("note", text=printable(text))

    def _tell(self, event: str, **values: object) -> None:
        print_event(self._stream, event, **values)


def print_event(stream: TextIO, event: str, **values: object) -> None:
    """Write one event as a JSON line."""
    line = orjson.dumps({"time": round(time.time(), 3), "event": event, **values})
    print(line.decode(), file=stream, flush=True)


def make_progress(way: str, stream: TextIO | None = None) -> Progress:
    """The way named `auto`, `bar`, `plain`, `json` or `none`; `auto` asks for a terminal."""
    stream = sys.stderr if stream is None else stream
    if way == "auto":
        way = "bar" if stream.isatty() else "plain"
    ways = {"bar": BarProgress, "plain": PlainProgress, "json": JsonProgress}
    return ways[way](stream) if way in ways else Progress()
