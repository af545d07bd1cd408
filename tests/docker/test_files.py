"""Containers made from migrated images have the files that the legacy layers had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docker.conftest import Served, in_one_worker
from tests.docker.shown import check_exported, check_running, has_shell
from tests.docker.stores import OF_EACH_DRIVER


@pytest.mark.parametrize("running", in_one_worker(OF_EACH_DRIVER), indirect=True)
def test_containers_of_every_image_see_its_files(served: Served, tmp_path: Path) -> None:
    """From inside, where the image has a shell; else as `docker export` gives them."""
    ran = 0
    for image_id in served.store.image_ids:
        image = served.store.tree(image_id)
        if has_shell(image):
            ran += 1
            check_running(served.daemon, image_id, image)
        else:
            check_exported(served.daemon, image_id, image, tmp_path / image_id)
    assert ran >= len(served.store.image_ids) - 4
