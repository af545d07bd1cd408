"""The synthetic stores: each shape builds, is the same again, migrates and verifies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import compare, limits
from bench.__main__ import main
from bench.building import build
from bench.hosts import Measured, fit
from bench.measuring import migrate, reset
from bench.shapes import SHAPES, scaled
from migrator.layer.load import Load
from migrator.report.model import Costs, Speed
from tests.command import migrator, snapshot

# Trees that are complete take far more entries.
SHAPES_AND_DRIVERS = [
    *((name, shape.drivers[0]) for name, shape in SHAPES.items()),
    *(("doc", "overlay"), ("no-records", "overlay")),
]


@pytest.mark.parametrize(("shape", "driver"), SHAPES_AND_DRIVERS)
def test_tiny_store_migrates_to_the_digests_it_was_built_with(
    shape: str, driver: str, tmp_path: Path
) -> None:
    root = tmp_path / "docker"
    build(scaled(SHAPES[shape], 0.0005), root, driver)
    before = snapshot(root)
    report = migrate(root, 2).report
    methods = {layer["method"] for layer in report["layers"]}
    assert methods == ({"tar-split record"} if SHAPES[shape].records else {"recomputed"})
    assert snapshot(root) == before

    assert migrator("migrate", "-g", root, "-q").returncode == 0
    run = migrator("verify", "-g", root)
    assert run.returncode == 0, run.stdout + run.stderr
    reset(root)
    assert snapshot(root) == before


def test_wrong_content_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "docker"
    build(scaled(SHAPES["few-large"], 0.0001), root)
    expected = json.loads((root / "expected.json").read_text())
    expected[min(expected)] = "sha256:" + "0" * 64
    (root / "expected.json").write_text(json.dumps(expected))
    with pytest.raises(RuntimeError, match="wrong digest"):
        migrate(root, 1)


def test_same_seed_gives_the_same_store(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(scaled(SHAPES["doc"], 0.001), tmp_path / name, seed=seed)
    # Layers with their times, and what Docker kept of them without.
    trees = [snapshot(tmp_path / name / "aufs/diff") for name in "abc"]
    assert trees[0] == trees[1] != trees[2]
    graphs = [
        {path: (*status[:4], status[5]) for path, status in snapshot(tmp_path / name).items()}
        for name in "abc"
    ]
    assert graphs[0] == graphs[1] != graphs[2]


def test_documented_example_has_its_documented_size() -> None:
    sizes = {
        image.name: sum(layer.bytes for layer in image.layers) for image in SHAPES["doc"].images
    }
    debian = sizes["debian"]
    documented = {
        "jenkins": 708.5,
        "mysql": 360.3,
        "mongo": 317.4,
        "postgres": 270.7,
        "redis": 151.3,
        "centos": 196.6,
        "ubuntu": 131.3,
    }
    for image in SHAPES["doc"].images[1:]:
        whole = sizes[image.name] + (debian if image.base else 0)
        assert whole / 1e6 == pytest.approx(documented[image.name], abs=0.1)


def test_fit_finds_the_constants_again() -> None:
    speed = Speed(hashing=2e9, opening=5e-6, cpus=2)
    costs = Costs(1.2, 3.0, 8.0, 100.0, 20.0, 0.02)
    stores = [
        [Load(10**9, 10)] * 4,
        [Load(10**6, 10**5)] * 4,
        [Load(10**6, 10**5, recomputed=True)] * 2,
        [Load(1024, 0)] * 500,
        [Load(10**8, 10**3)] * 2,
    ]
    measured = [
        Measured(str(number), workers, False, speed.seconds(loads, workers, costs), tuple(loads))
        for number, loads in enumerate(stores)
        for workers in (1, 2)
    ]
    found = fit(measured, speed)
    # What is fixed is not fitted, but taken from the tool.
    assert astuple(found) == pytest.approx(astuple(costs), 0.01)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "devicemapper"),
        (["hosts", "--help"], 0, "Fit the timing model"),
        (["hosts"], 1, "matplotlib and numpy is missing: .venv/bin/pip install -e '.[bench]'"),
        (["all"], 1, "matplotlib and numpy is missing"),
    ],
)
def test_without_its_extra(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    program = (
        "import runpy, sys; sys.modules.update(matplotlib=None, numpy=None)\n"
        "runpy.run_module('bench', run_name='__main__')"
    )
    places = ["--dir", tmp_path, "--results", tmp_path] if code else []
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments, *places],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, "Traceback" in run.stderr) == (code, False), run.stderr
    assert said in run.stdout + run.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["digests", "limits", "compare", "hosts"])
def test_commands_write_their_results(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole machine's caches are not for a test to empty.
    for module in (compare, limits):
        monkeypatch.setattr(module, "drop_caches", lambda: False)
    options = ["--dir", tmp_path / "stores", "--results", tmp_path / "results"]
    options += ["--scale", "0.001", "--runs", "1"]
    shapes = [] if command == "digests" else ["few-large"]
    result = CliRunner().invoke(main, [command, *map(str, options), *shapes])
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "results" / f"{command}.json").read_text())
    assert document["machine"]["cpus"] >= 1
    assert (tmp_path / "results" / f"{command}.md").read_text().startswith(f"# {command}\n")
    assert not list(Path("/sys/fs/cgroup").glob(f"**/migrator-bench-{os.getpid()}"))
    assert command == "limits" or list((tmp_path / "results").glob("*.svg"))
