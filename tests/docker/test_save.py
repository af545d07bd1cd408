"""`docker save` gives out exactly the layers and configs that the IDs are digests of."""

from __future__ import annotations

from pathlib import Path

from tests.docker.conftest import Served
from tests.docker.daemon import Daemon
from tests.docker.shown import check_saved


def test_saved_images_match_their_ids_and_load_elsewhere(served: Served, tmp_path: Path) -> None:
    store = served.store
    archive = tmp_path / "images.tar"
    check_saved(served.daemon, store, archive)

    empty = tmp_path / "empty"
    empty.mkdir()
    with Daemon(empty, "overlay2") as other:
        other.docker("load", "--input", archive)
        loaded = other.docker("images", "--all", "--quiet", "--no-trunc").split()
        errors = other.errors()
    other.remove()
    assert set(loaded) == set(store.image_ids)
    assert errors == []
