"""The configs of migrated containers, against what Docker 1.10.3 wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import FormatError, MigratorError
from migrator.legacy.containers import image_of
from migrator.store.containerconfig import rewrite, with_links
from tests.conftest import STORES

LINKS = ["/db:db", "/a<b:x"]
WRITTEN = rb'["/db:db","/a\u003cb:x"]'


@pytest.mark.parametrize("name", sorted(path.name[:-7] for path in STORES.glob("*.tar.xz")))
def test_every_container_of_the_stores_gets_dockers_config(
    name: str, store: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    expected = golden(name)
    migrated = {key: text for key, text in expected["containers"].items() if text is not None}
    assert migrated
    for container, text in migrated.items():
        raw = (store(name) / "containers" / container / "config.json").read_bytes()
        image_id = expected["id_map"][image_of(raw)]
        assert rewrite(raw, image_id) == text.encode(errors="surrogateescape")


def test_rewrite_keeps_values_and_sorts_keys() -> None:
    raw = b'{"b": [1.0, "<\xff"], "image": 1, "Image": "old", "a": {"y" : 1, "x" : 2}}'
    assert rewrite(raw, "sha256:new") == (
        b'{"Image":"sha256:new","a":{"y":1,"x":2},"b":[1.0,"\\u003c\xff"],"image":1}'
    )


def test_the_image_is_decoded_and_its_key_taken_literally() -> None:
    assert image_of(b'{"Image":"1","Image":"\\u0061"}') == "a"
    for raw in (b"{}", b"null", b"[]", b'{"image":"a"}', b'{"Image":null}', b'{"Image":1}'):
        with pytest.raises(FormatError):
            image_of(raw)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"null", b'{"Links":%s}'),
        (b" { }\n", b' {"Links":%s }\n'),
        (b'{"A": 1 }', b'{"A": 1,"Links":%s }'),
        (b'{"A" : 1, "Links" : null ,"B":2}', b'{"A" : 1, "Links" : %s ,"B":2}'),
        (b'{"LINK\xc5\xbf":null,"x":"Links"}', b'{"LINK\xc5\xbf":%s,"x":"Links"}'),
        (b'{"Links":["a"],"links":null}', b'{"Links":["a"],"links":%s}'),
        (b'{"Nested":{"Links":[]}}', b'{"Nested":{"Links":[]},"Links":%s}'),
    ],
)
def test_missing_links_are_set_and_nothing_else(before: bytes, after: bytes) -> None:
    made = with_links(before, LINKS)
    assert made == after % WRITTEN
    assert with_links(made, []) is None


@pytest.mark.parametrize(
    "raw", [b'{"Links":[]}', b'{"Links":["/a:b"]}', b'{"Links":null,"LINKS":[]}']
)
def test_present_links_are_left_alone(raw: bytes) -> None:
    assert with_links(raw, LINKS) is None


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"Links":"x"}', b'{"Links":[1]}', b"{} {}"])
def test_hostconfigs_that_go_refuses(raw: bytes) -> None:
    with pytest.raises(FormatError):
        with_links(raw, LINKS)


documents = st.dictionaries(
    st.sampled_from(["Links", "links", "Image", "x"]), st.text() | st.none()
)


@given(st.binary() | documents.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_raise_nothing_else(raw: bytes) -> None:
    for function in (
        image_of,
        lambda raw: rewrite(raw, "sha256:x"),
        lambda raw: with_links(raw, LINKS),
    ):
        try:
            function(raw)
        except MigratorError:
            continue
