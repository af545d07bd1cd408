"""Where two things become one, and where an image is lost: as Docker 1.10.3 does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.command import dump, migrator

StoreCopy = Callable[[str], Path]


def edit(root: Path, v1_id: str, **values: object) -> None:
    path = root / "graph" / v1_id / "json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | values))


def twins(root: Path, golden: dict[str, dict[str, str]]) -> tuple[str, str]:
    """Two leaf images with the same stack of layers, in sorted order."""
    tags = json.loads((root / "repositories-overlay").read_bytes())["Repositories"]
    first, second = sorted((tags["twin/a"]["latest"], tags["twin/b"]["latest"]))
    return first, second


def test_layer_of_an_unusable_image_is_there_for_the_next(
    store_copy: StoreCopy, golden: Callable[[str], dict[str, dict[str, str]]]
) -> None:
    root = store_copy("docker-1.9.1-overlay")
    expected = golden("docker-1.9.1-overlay")
    first, second = twins(root, expected)
    # Docker registers the layer, then fails on the config.
    edit(root, first, created="yesterday")

    run = migrator("migrate", "-g", root, "--progress", "none")

    assert run.returncode == 3
    assert first in run.stdout
    result = dump(root, "overlay")
    assert result["id_map"] == {k: v for k, v in expected["id_map"].items() if k != first}
    assert result["layers"] == expected["layers"]
    cache_ids = {layer["cache-id"] for layer in result["layers"].values()}
    assert first in cache_ids
    assert second not in cache_ids
    assert migrator("verify", "-g", root, "-q").returncode == 0


def test_equal_configs_share_an_image_id(
    store_copy: StoreCopy, golden: Callable[[str], dict[str, dict[str, str]]]
) -> None:
    root = store_copy("docker-1.9.1-overlay")
    first, second = twins(root, golden("docker-1.9.1-overlay"))
    image = json.loads((root / "graph" / first / "json").read_bytes())
    edit(root, second, **{key: image[key] for key in image if key != "id"})

    run = migrator("migrate", "-g", root, "--progress", "none")

    assert "33 migrated, 32 distinct" in run.stdout
    result = dump(root, "overlay")
    assert result["id_map"][first] == result["id_map"][second]
    references = result["repositories"]["Repositories"]
    assert references["twin/a"]["twin/a:latest"] == references["twin/b"]["twin/b:latest"]


def test_two_names_that_become_one(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay-pulled")
    path = root / "repositories-overlay"
    some = json.loads(path.read_bytes())["Repositories"]
    first, second = sorted({v1_id for tags in some.values() for v1_id in tags.values()})[:2]
    path.write_text(
        json.dumps(
            {
                "Repositories": {
                    "library/x": {"1": second},
                    "docker.io/x": {"1": first},
                    "x": {"1": first, "2": second},
                }
            }
        )
    )
    run = migrator("migrate", "-g", root, "--progress", "none")
    assert run.returncode == 3
    assert "library/x:1" in run.stdout
    result = dump(root, "overlay")
    assert result["repositories"] == {
        "Repositories": {
            "x": {"x:1": result["id_map"][first], "x:2": result["id_map"][second]},
        }
    }


def test_container_without_its_writable_layer(store_copy: StoreCopy) -> None:
    import shutil

    root = store_copy("docker-1.9.1-overlay")
    container = next(
        directory.name
        for directory in sorted((root / "containers").iterdir())
        if (root / "overlay" / directory.name).is_dir()
    )
    shutil.rmtree(root / "overlay" / container)
    run = migrator("migrate", "-g", root, "--progress", "none")
    assert run.returncode == 3
    assert container in run.stdout
    result = dump(root, "overlay")
    assert container not in result["mounts"]
    # As Docker: its config moves on all the same.
    assert result["containers"][container]


def test_container_of_another_driver_stays(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay")
    container = sorted(path.name for path in (root / "containers").iterdir())[0]
    path = root / "containers" / container / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"Driver": "aufs"}))
    run = migrator("migrate", "-g", root, "--progress", "none")
    assert run.returncode == 3
    assert f"{container} (" in run.stdout
    assert dump(root, "overlay")["containers"][container] is None


def test_link_to_a_container_that_is_left_out(store_copy: StoreCopy) -> None:
    root = store_copy("docker-1.9.1-overlay")
    linked = {
        json.loads(path.read_bytes())["Name"]: path
        for path in (root / "containers").glob("*/config.json")
    }
    linked["/created"].write_text("{}")
    run = migrator("migrate", "-g", root, "--progress", "none")
    assert run.returncode == 3
    assert "'db'" in run.stdout
    result = dump(root, "overlay")
    assert ["/exited:cache"] in result["links"].values()
