"""The figures of one checkout, as JSON: `measuring.py CHECKOUT`, with its code importable."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import grimp

_STORE = "docker-1.9.1-overlay-pulled"

# A path below `image/`, as code writes it; sentences have blanks.
_PATH = re.compile(r"image/\S*|\S*(layerdb|imagedb|repositories\.json|-by-d\w+|v2metadata)\S*")


def figures(checkout: Path) -> dict[str, Any]:
    """Everything, by what it is called."""
    sources = sorted((checkout / "migrator").rglob("*.py"))
    texts = {path: path.read_text() for path in sources}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    names = Counter(path.name for path in sources if path.name != "__init__.py")
    rooms = _Rooms()
    writers = [path for path in sources if _has_path(trees[path])]
    way, wide_way = _way_of_v1_id(checkout)
    return {
        "files": len(sources),
        "classes": sum(isinstance(n, ast.ClassDef) for t in trees.values() for n in ast.walk(t)),
        "lines": sum(text.count("\n") for text in texts.values()),
        "files of over 340 lines": sum(text.count("\n") > 340 for text in texts.values()),
        "rooms (packages and loose modules)": len(rooms.rooms),
        "arrows between rooms": len(rooms.arrows),
        "floors": rooms.floors(),
        "uphill imports": len(rooms.uphill),
        "names that several files have": sum(number > 1 for number in names.values()),
        "files that write down a path below image/": len(writers),
        "files that a v1 ID passes, from graph/ to the layer database": len(way),
        "with those that see a path with it": len(wide_way),
        "details": {"paths below image/": [str(path) for path in writers], "v1 ID": way},
    }


def _has_path(tree: ast.Module) -> bool:
    """Whether a module has a string that is a path below `image/`, other than as a docstring."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    # An attribute's docstring is an expression, too.
    docs |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {
        id(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for value in node.values
    }
    for node in ast.walk(tree):
        text = None
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(value.value) if isinstance(value, ast.Constant) else "{}"
                for value in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in docs | parts:
            text = node.value if isinstance(node.value, str) else None
        if text is not None and _PATH.fullmatch(text):
            return True
    return False


class _Rooms:
    """Packages and loose modules directly in `migrator`, and what they import of each other."""

    def __init__(self) -> None:
        graph = grimp.build_graph("migrator", cache_dir=None)
        self.arrows: set[tuple[str, str]] = set()
        imports: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.rooms = {_room(name) for name in graph.modules} - {"migrator"}
        for name in graph.modules:
            for other in graph.find_modules_directly_imported_by(name):
                arrow = _room(name), _room(other)
                if arrow[0] != arrow[1] and "migrator" not in arrow:
                    self.arrows.add(arrow)
                    imports.setdefault(arrow, set()).add((name, other))
        up = self._backward()
        self.uphill = {each for arrow in up for each in imports[arrow]}
        self._below = {room: {b for a, b in self.arrows - up if a == room} for room in self.rooms}

    def floors(self) -> int:
        """Rooms on the longest way down."""
        known: dict[str, int] = {}

        def depth(room: str) -> int:
            if room not in known:
                known[room] = 1 + max(map(depth, self._below[room]), default=0)
            return known[room]

        return max(map(depth, self.rooms))

    def _backward(self) -> set[tuple[str, str]]:
        """A few arrows without which none leads back to where it came from.

        Those against an order in which rooms come by how much more they import than
        they are imported (Eades, Lin and Smyth).
        """
        left, top, bottom = set(self.rooms), [], []
        while left:
            arrows = [(a, b) for a, b in self.arrows if a in left and b in left]
            out, into = Counter(a for a, _ in arrows), Counter(b for _, b in arrows)
            if sinks := sorted(room for room in left if not out[room]):
                bottom.append(sinks[0])
                left.remove(sinks[0])
            elif sources := sorted(room for room in left if not into[room]):
                top.append(sources[0])
                left.remove(sources[0])
            else:
                most = max(sorted(left), key=lambda room: out[room] - into[room])
                top.append(most)
                left.remove(most)
        order = {room: number for number, room in enumerate([*top, *reversed(bottom)])}
        return {(a, b) for a, b in self.arrows if order[a] > order[b]}


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _way_of_v1_id(checkout: Path) -> tuple[list[str], list[str]]:
    """The files with functions that get to see a layer's v1 ID, or what bears or holds it.

    And those that do, or see a path in which it is.
    """
    from migrator import migrate  # type: ignore[attr-defined]

    source = str(checkout / "migrator")
    with tempfile.TemporaryDirectory() as directory:
        archive = checkout / "legacy_fixtures" / "stores" / f"{_STORE}.tar.xz"
        options = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp")
        subprocess.run(["tar", "-C", directory, *options, "-xpJf", str(archive)], check=True)
        (root,) = (path.parent for path in Path(directory).rglob("graph"))
        v1_id = min(path.name for path in (root / "graph").iterdir() if len(path.name) == 64)
        passed: set[str] = set()
        near: set[str] = set()

        def look(frame: FrameType, event: str, _: object) -> None:
            name = frame.f_code.co_filename
            if not (event == "return" and name.startswith(source)) or name in passed:
                return
            values = list(frame.f_locals.values())
            if any(_bears(each, v1_id) for each in values):
                passed.add(name)
            elif any(isinstance(each, str | Path) and v1_id in str(each) for each in values):
                near.add(name)

        sys.setprofile(look)
        try:
            migrate(root, workers=0)
        finally:
            sys.setprofile(None)
    return _within(source, passed), _within(source, passed | near)


def _within(source: str, names: set[str]) -> list[str]:
    return sorted(str(Path(name).relative_to(source)) for name in names)


def _bears(value: object, v1_id: str) -> bool:
    if isinstance(value, str):
        return value == v1_id
    if isinstance(value, Mapping | set | frozenset):
        return v1_id in value
    if isinstance(value, list | tuple):
        return any(_bears(each, v1_id) for each in value)
    return v1_id in (getattr(value, "v1_id", None), getattr(value, "layer", None))


if __name__ == "__main__":
    print(json.dumps(figures(Path(sys.argv[1]))))
