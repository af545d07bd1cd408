"""Which layers' trees are built already, so that an interrupted run goes on.

Lines of JSON in `built.jsonl`, each with the BLAKE3 of what it says. A line is
written when the tree that it speaks of is on the disk: after one syncfs for all
that were built since the last. A tree is kept if its fingerprint is still what
the line says, and if it would be built from the same things.
"""

from __future__ import annotations

import json
import time
from dataclasses import astuple, dataclass

from blake3 import blake3

from migrator.errors import StoreError
from migrator.state.directory import StateDirectory
from migrator.state.soundness import MAX_LINES
from migrator.system import disk
from migrator.system.files import read_file

# Seconds of work that an interruption may cost; each time the disk is waited for.
_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class BuiltTree:
    """`name` is the directory's in the driver's; `source` stands for what it was built from."""

    name: str
    source: str
    fingerprint: str


class BuiltTrees:
    """The record. Raises StoreError when it cannot be read or written."""

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._waiting: list[BuiltTree] = []
        self._written = time.monotonic()
        self._known = {tree.name: tree for line in self._lines() if (tree := _parse(line))}
        # Anything else in it, half a line at the end for one, ends here.
        disk.write_atomically(state.built, b"".join(map(_line, self._known.values())))

    def __enter__(self) -> BuiltTrees:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            self._write()
        except StoreError:
            # What already went wrong is the better thing to tell.
            if kind is None:
                raise

    def get(self, name: str, source: str) -> BuiltTree | None:
        """What is known of a tree, if it was built from that."""
        tree = self._known.get(name)
        return tree if tree is not None and tree.source == source else None

    def add(self, tree: BuiltTree) -> None:
        """Record a tree; it is on the disk within seconds, or at the end."""
        self._waiting.append(tree)
        if time.monotonic() - self._written >= _EVERY:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            disk.flush_file_system(self._state.path)
            with disk.operation("append", self._state.built), self._state.built.open("ab") as file:
                file.writelines(map(_line, self._waiting))
            disk.flush(self._state.built)
            self._waiting.clear()
        self._written = time.monotonic()

    def _lines(self) -> list[bytes]:
        return (read_file(self._state.built, MAX_LINES) or b"").splitlines()


def _line(tree: BuiltTree) -> bytes:
    values = json.dumps(astuple(tree)).encode()
    return values + b" " + blake3(values).hexdigest().encode() + b"\n"


def _parse(line: bytes) -> BuiltTree | None:
    """The tree of a line; None for a damaged one."""
    values, _, seal = line.rpartition(b" ")
    if blake3(values).hexdigest().encode() != seal:
        return None
    try:
        name, source, fingerprint = json.loads(values)
    except (ValueError, TypeError, RecursionError):
        return None
    return BuiltTree(str(name), str(source), str(fingerprint))
