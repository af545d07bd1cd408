"""Stores of the devicemapper driver for tests, and what must not be left of reading them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from legacy_fixtures.build import Built, Layer, Store, build
from legacy_fixtures.thinpool import to_thin_pool
from migrator.drivers.thinpool.image import PREFIX
from tests.command import dump

BLOCK = 64 << 10

NAME = "docker-1.9.1-devicemapper"

FORKED = (Layer(None), Layer(0), Layer(1), Layer(0), Layer(3))


def thin_store(root: Path, fs: str = "ext4", layers: tuple[Layer, ...] = FORKED) -> Built:
    """A small store without records, each layer on a device of its own."""
    built = build(Store("vfs", layers, records=False), root)
    to_thin_pool(root, "vfs", fs)
    return built


def as_devicemapper(document: dict[str, Any], driver: str = "vfs") -> dict[str, Any]:
    """What `dump` says of a store, with the other driver's name."""
    text = json.dumps(document).replace(f'"{driver}"', '"devicemapper"')
    text = text.replace(f'\\"{driver}\\"', '\\"devicemapper\\"')
    result: dict[str, Any] = json.loads(text)
    return result


def diff_ids(root: Path) -> dict[str, str]:
    """The diffIDs of the migrated layers by cache-id."""
    layers = dump(root, "devicemapper")["layers"].values()
    return {layer["cache-id"]: layer["diff"] for layer in layers}


def dump_pool(metadata: Path) -> dict[int, dict[int, int]]:
    """The blocks of every device of a pool, by its number."""
    xml = subprocess.run(["thin_dump", metadata], check=True, capture_output=True).stdout
    devices = {}
    for device in ElementTree.fromstring(xml):
        blocks = devices[int(device.get("dev_id", ""))] = {}
        for run in device:
            values = {name: int(value) for name, value in run.items()}
            origin = values.get("origin_block", values.get("origin_begin", 0))
            block = values.get("data_block", values.get("data_begin", 0))
            blocks |= {origin + n: block + n for n in range(values.get("length", 1))}
    return devices


def left_over(work_dir: Path) -> list[str]:
    """The loop devices over images in `work_dir` that are there, and the images' files."""
    found = [str(path) for path in work_dir.glob(f"{PREFIX}*")]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            shown = backing.read_text()
        except OSError:
            continue
        if shown.startswith(f"{work_dir}/{PREFIX}"):
            found.append(f"{backing.parent.parent.name}: {shown.strip()}")
    return found


def mounts() -> list[str]:
    """What is mounted, as all processes see it."""
    lines = Path("/proc/1/mountinfo").read_text().splitlines()
    return [line for line in lines if re.search("/devicemapper[/ ]", line)]


@contextmanager
def loop_device(file: Path) -> Iterator[str]:
    """A block device that shows a file."""
    shown = subprocess.run(
        ["losetup", "--find", "--show", file], check=True, capture_output=True, text=True
    )
    device = shown.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
