"""`docker save` gives out exactly the layers and configs that the IDs are digests of."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from tests.docker.conftest import Served
from tests.docker.daemon import Daemon


def test_saved_images_match_their_ids_and_load_elsewhere(served: Served, tmp_path: Path) -> None:
    store = served.store
    archive = tmp_path / "images.tar"
    served.daemon.docker("save", "--output", archive, *store.image_ids)

    with tarfile.open(archive) as saved:

        def digest(name: str) -> str:
            # A layer that was saved already is a link to it.
            file = saved.extractfile(name)
            assert file is not None, name
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

        manifest = saved.extractfile("manifest.json")
        assert manifest is not None
        images = {digest(image["Config"]): image for image in json.load(manifest)}
        assert set(images) == set(store.image_ids)
        for image_id, image in images.items():
            diff_ids = store.config(image_id)["rootfs"]["diff_ids"]
            assert [digest(layer) for layer in image["Layers"]] == diff_ids

    empty = tmp_path / "empty"
    empty.mkdir()
    with Daemon(empty, "overlay2") as other:
        other.docker("load", "--input", archive)
        loaded = other.docker("images", "--all", "--quiet", "--no-trunc").split()
        errors = other.errors()
    other.remove()
    assert set(loaded) == set(store.image_ids)
    assert errors == []
