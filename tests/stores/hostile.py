"""A small store, well-formed, for tests to spoil; and runs of the command line that watch it."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from fastcrc import crc64

from tests.command import migrator

MEMORY = 1 << 30
"""Bytes of address space that each process of a run may take beyond what the test has."""

CONTAINER = "c0" * 32
_CONTENT = b"content of a file"


def v1_id(number: int) -> str:
    return f"{number:064x}"


def file_line(name: str, content: bytes, **other: Any) -> dict[str, Any]:
    """A record's line for a file."""
    checksum = base64.b64encode(crc64.go_iso(content).to_bytes(8, "big")).decode()
    return {"type": 1, "name": name, "size": len(content), "payload": checksum, **other}


def pack(*lines: dict[str, Any]) -> bytes:
    """A record of these lines."""
    return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines), 1)


def build(root: Path, images: int = 1) -> Path:
    """An overlay store: images without parents, numbered from 0; a tag, a container of image 0."""
    for number in range(images):
        add_image(root, number)
    (root / "overlay" / CONTAINER).mkdir()
    (root / "overlay" / f"{CONTAINER}-init").mkdir()
    tags = {"Repositories": {"name": {"tag": v1_id(0)}}}
    (root / "repositories-overlay").write_text(json.dumps(tags))
    container = root / "containers" / CONTAINER
    container.mkdir(parents=True)
    config = {"Image": v1_id(0), "Name": "/web", "Driver": "overlay"}
    (container / "config.json").write_text(json.dumps(config))
    (container / "hostconfig.json").write_text('{"Links":null}')
    with closing(sqlite3.connect(root / "linkgraph.db")) as database:
        database.execute("CREATE TABLE edge (entity_id text, parent_id text, name text)")
        database.execute("INSERT INTO edge VALUES (?, ?, 'self')", (CONTAINER, CONTAINER))
        database.commit()
    return root


def add_image(root: Path, number: int, lines: Sequence[dict[str, Any]] = (), **other: Any) -> Path:
    """Image `number`, its layer with one file `f`; returns its directory in `graph/`."""
    graph = root / "graph" / v1_id(number)
    graph.mkdir(parents=True)
    document = {"id": v1_id(number), "docker_version": "1.9.1", "os": f"{number}"} | other
    (graph / "json").write_text(json.dumps(document))
    (graph / "layersize").write_text(str(len(_CONTENT)))
    (graph / "tar-data.json.gz").write_bytes(pack(*(lines or [file_line("f", _CONTENT)])))
    layer = root / "overlay" / v1_id(number) / "root"
    layer.mkdir(parents=True)
    (layer / "f").write_bytes(_CONTENT)
    return graph


def run(*arguments: str | Path, memory: int = MEMORY) -> CompletedProcess[str]:
    """Run the command line; whatever it met, it told in plain text, in bounded time and memory."""
    done = migrator(*arguments, memory=memory)
    output = done.stdout + done.stderr
    assert done.returncode in (0, 1, 3), (arguments, done.returncode, output[-3000:])
    assert "Traceback" not in output, output[-3000:]
    assert all(line.isprintable() for line in output.split("\n"))
    return done
