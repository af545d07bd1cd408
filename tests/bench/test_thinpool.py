"""The benchmark of thin pools runs, and counts what is read of a pool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import thinpool
from bench.__main__ import main


def test_figures_of_a_small_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinpool, "_SHAPE", "few-large")
    monkeypatch.setattr(thinpool, "_DEVICE", 1 << 29)
    options = ["--dir", tmp_path / "stores", "--results", tmp_path, "--scale", "0.02"]
    result = CliRunner().invoke(main, ["devicemapper", *map(str, options), "--runs", "1"])
    assert result.exit_code == 0, result.output
    for figures in json.loads((tmp_path / "devicemapper.json").read_text())["stores"].values():
        read, distinct = figures["bytes read from the pool"], figures["distinct bytes in the pool"]
        # The base device's own blocks are no layer's.
        assert 0.5 * distinct < read <= 2 * distinct
        assert figures["bytes hashed"] < distinct
        assert figures["devicemapper, hashing, times overlay"] > 0
