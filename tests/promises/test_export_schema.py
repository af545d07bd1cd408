"""What our check of configs takes or refuses, held against the tools that read images."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from legacy_fixtures.build import Store, build, line
from migrator.export.schema import faults_of
from tests.command import migrator
from tests.scratch import scratch
from tests.stores.exported import Layout
from tests.unit.export.test_schema import SCHEMA


def nulls(config: dict[str, Any]) -> dict[str, Any]:
    """A config in which all that our check takes as null is null."""
    members = SCHEMA["properties"]["config"]["properties"]  # type: ignore[index]
    steps = SCHEMA["properties"]["history"]["items"]["properties"]  # type: ignore[index]
    return {
        **dict.fromkeys(SCHEMA["properties"]),  # type: ignore[arg-type]
        "architecture": config["architecture"],
        "os": config["os"],
        "config": dict.fromkeys(members),
        "history": [dict.fromkeys(steps)],
        "rootfs": config["rootfs"],
    }


def test_readers_in_go_take_null_and_no_other_type(tmp_path: Path) -> None:
    out = tmp_path / "image"
    with scratch() as directory:
        root = build(Store(layers=line(1), tags={"app:1": 0}), directory / "root").root
        assert migrator("export", "-g", root, "-o", out, "-q").returncode == 0
    layout = Layout.read(out)
    ((image_id, manifest),) = layout.manifests.items()
    config = nulls(layout.config(image_id))
    assert faults_of(json.dumps(config).encode())
    assert not [str(f) for f in faults_of(json.dumps(config).encode()) if f.refused]
    wrong = {**config, "config": {"Cmd": "sh"}}
    for name, document, code in (("null", config, 0), ("wrong", wrong, 1)):
        put(out, name, manifest, json.dumps(document).encode())
        bundle = tmp_path / f"bundle-{name}"
        image = f"{out}:{name}"
        unpack = subprocess.run(["umoci", "unpack", "--image", image, bundle], capture_output=True)
        assert unpack.returncode == code, unpack.stderr
        # Without --raw skopeo decodes the config itself.
        if name == "null":
            inspect = ["skopeo", "inspect", "--config", f"oci:{image}"]
            subprocess.run(inspect, check=True, capture_output=True)


def put(out: Path, name: str, manifest: dict[str, Any], config: bytes) -> None:
    """Make the only image of a layout one with another config, under another name."""

    def blob(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (out / "blobs/sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    changed = {**manifest, "config": {**manifest["config"], **blob(config)}}
    (entry, *_) = json.loads((out / "index.json").read_text())["manifests"]
    annotations = {"org.opencontainers.image.ref.name": name}
    entry = {**entry, **blob(json.dumps(changed).encode()), "annotations": annotations}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (out / "index.json").write_text(json.dumps(index))
