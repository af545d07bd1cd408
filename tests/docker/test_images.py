"""What a daemon shows of migrated images agrees with the legacy metadata and with layerdb."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.docker.conftest import Served
from tests.docker.stores import field

# Since Docker 1.13 the host and `library/` count, even where they are not written.
_LONGEST_NAME = 255


def test_images_have_our_ids_and_every_name(served: Served) -> None:
    rows = served.daemon.table("images", "--all", "--digests")

    assert {row["ID"] for row in rows} == set(served.store.image_ids)
    shown = {f"{row['Repository']}:{row['Tag']}" for row in rows if row["Tag"] != "<none>"} | {
        f"{row['Repository']}@{row['Digest']}" for row in rows if row["Digest"] != "<none>"
    }
    repositories = served.store.golden["repositories"]["Repositories"]
    assert shown == {
        reference
        for name, references in repositories.items()
        if len(f"docker.io/library/{name}") <= _LONGEST_NAME
        for reference in references
    }


def test_inspect_agrees_with_the_legacy_image(served: Served) -> None:
    store = served.store
    for shown in served.daemon.inspect("image", *store.image_ids):
        image_id = shown["Id"]
        legacy, *_ = store.ancestry(image_id)
        config = store.config(image_id)
        assert shown["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
        assert shown["Size"] == sum(store.layer_sizes(image_id))
        metadata = store.golden["image_metadata"].get(image_id.removeprefix("sha256:"), {})
        assert shown["Parent"] == metadata.get("parent", "")
        for key in ("Author", "Comment", "Architecture", "Os"):
            assert shown[key] == (field(legacy, key) or ""), (image_id, key)
        expected, found = field(legacy, "config") or {}, shown["Config"] or {}
        for key in ("Cmd", "Entrypoint", "Env", "Labels", "Volumes", "OnBuild", "ExposedPorts"):
            assert _listed(found.get(key)) == _listed(field(expected, key)), (image_id, key)
        for key in ("User", "WorkingDir"):
            assert found.get(key, "") == (field(expected, key) or ""), (image_id, key)


def test_history_agrees_with_the_legacy_images(served: Served) -> None:
    store = served.store
    for image_id in store.image_ids:
        lines = served.daemon.table("history", "--human=false", image_id)
        assert [
            (line["CreatedBy"], line["Comment"], int(line["Size"]), _time(line["CreatedAt"]))
            for line in lines
        ] == [
            (
                # The client shows a tab as a space.
                " ".join(
                    _listed(field(field(image, "container_config") or {}, "Cmd")) or []
                ).replace("\t", " "),
                field(image, "comment") or "",
                size,
                _time(field(image, "created") or "0001-01-01T00:00:00Z"),
            )
            for image, size in zip(
                store.ancestry(image_id), reversed(store.layer_sizes(image_id)), strict=True
            )
        ]


def _listed(value: Any) -> Any:
    """A config value as Docker >= 1.10 has it: a lone string is a list of one, empty is null."""
    return [value] if value and isinstance(value, str) else value or None


def _time(text: str) -> datetime:
    """A time to the second."""
    whole, _, fraction = text.partition(".")
    offset = fraction.lstrip("0123456789")
    return datetime.fromisoformat(whole + offset if fraction else whole)
