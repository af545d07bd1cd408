"""A legacy store as it was before something came into it, and the way back to what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from legacy_fixtures.build import Built


def away(root: Path, *paths: str) -> Callable[[], None]:
    """Take files out of a data root; returns what puts them back."""
    aside = root.with_name(f"{root.name}.aside")
    moved = [(root / path, aside / str(n)) for n, path in enumerate(paths)]
    aside.mkdir()
    for path, other in moved:
        path.rename(other)

    def back() -> None:
        for path, other in moved:
            path.unlink(missing_ok=True)
            other.rename(path)
        aside.rmdir()

    return back


def younger(built: Built, index: int, *containers: str) -> Callable[[], None]:
    """Make the store what it was before an image, its names and some containers came."""
    root, v1_id = built.root, built.v1_ids[index]
    repositories = root / "repositories-overlay"
    names = json.loads(repositories.read_text())["Repositories"]
    ids = [built.container_ids[name] for name in containers]
    back = away(
        root,
        "repositories-overlay",
        f"graph/{v1_id}",
        f"overlay/{v1_id}",
        *(f"containers/{each}" for each in ids),
        *(f"overlay/{each}{end}" for each in ids for end in ("", "-init")),
    )
    old = {
        name: {tag: image for tag, image in tags.items() if image != v1_id}
        for name, tags in names.items()
    }
    repositories.write_text(json.dumps({"Repositories": old}))
    os.utime(repositories, (0, 0))
    return back
