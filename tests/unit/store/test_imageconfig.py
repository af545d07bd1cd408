"""Configs of migrated images, against what Docker 1.10.3 wrote and what Go would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import FormatError, MigratorError
from migrator.legacy.v1image import parent_of
from migrator.store.imageconfig import (
    history_entry,
    inherited_history,
    make_config,
)
from tests.conftest import STORES

DIFF_IDS = ["sha256:aa", "sha256:bb"]
HISTORY = [b'{"created":"0001-01-01T00:00:00Z"}', b'{"created":"2015-01-01T00:00:00Z"}']
TAIL = (
    b'"history":[{"created":"0001-01-01T00:00:00Z"},{"created":"2015-01-01T00:00:00Z"}]'
    b'%s,"rootfs":{"type":"layers","diff_ids":["sha256:aa","sha256:bb"]}'
)
EMPTY_CONTAINER = (
    b'{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,'
    b'"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,'
    b'"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}'
)


def ancestry(graph: Path, v1_id: str) -> list[bytes]:
    """The v1 jsons of an image and its ancestors, bottom first."""
    raw = (graph / v1_id / "json").read_bytes()
    parent_file = graph / v1_id / "parent"
    parent = (parent_file.read_text() if parent_file.exists() else "") or parent_of(raw)
    return [*(ancestry(graph, parent) if parent else []), raw]


@pytest.mark.parametrize("name", sorted(path.name[:-7] for path in STORES.glob("*.tar.xz")))
def test_every_image_of_the_stores_gets_dockers_config(
    name: str, store: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    expected = golden(name)
    assert expected["id_map"]
    for v1_id, image_id in expected["id_map"].items():
        if not (store(name) / "graph" / v1_id).exists():
            # Docker 1.9.1 went on in this one, and removed an image that was migrated.
            assert name == "docker-1.9.1-overlay-again"
            continue
        config = expected["images"][image_id.removeprefix("sha256:")]
        diff_ids = json.loads(config)["rootfs"]["diff_ids"]
        jsons = ancestry(store(name) / "graph", v1_id)
        history = [history_entry(raw) for raw in jsons]
        made = make_config(jsons[-1], diff_ids, history)
        assert made == config.encode(errors="surrogateescape")
        assert "sha256:" + hashlib.sha256(made).hexdigest() == image_id
        assert list(inherited_history(made)) == history


@pytest.mark.parametrize(
    ("raw", "parent"),
    [
        (b"{}", ""),
        (b"null", ""),
        (b'{"parent":"p","parent_id":"sha256:q"}', "p"),
        (b'{"PARENT":"p","parent":null}', "p"),
        (b'{"parent":"","parent_id":"sha256:q:r"}', "q:r"),
        (b'{"parent_id":":q"}', "q"),
        (b'{"parent_id":""}', ""),
    ],
)
def test_parent(raw: bytes, parent: str) -> None:
    assert parent_of(raw) == parent


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"parent":1}', b'{"parent":{}}', b'{"parent_id":"q"}', b"{} x"]
)
def test_parent_that_docker_stumbles_over(raw: bytes) -> None:
    with pytest.raises(FormatError):
        parent_of(raw)


@pytest.mark.parametrize(
    ("raw", "entry"),
    [
        (b"{}", b'{"created":"0001-01-01T00:00:00Z"}'),
        (
            b'{"comment":"<c>","created":"2015-02-31T1:02:03.50+02:00","author":"\\ud83d",'
            b'"container_config":{"Cmd":["sh","-c",null,"a\\u0001"]},"empty_layer":true}',
            b'{"created":"2015-03-03T01:02:03.5+02:00","author":"\xef\xbf\xbd",'
            b'"created_by":"sh -c  a\\u0001","comment":"\\u003cc\\u003e"}',
        ),
        (
            b'{"container_config":{"cmd":"ls -l"}}',
            b'{"created":"0001-01-01T00:00:00Z","created_by":"ls -l"}',
        ),
    ],
)
def test_history_entry(raw: bytes, entry: bytes) -> None:
    assert history_entry(raw) == entry


@pytest.mark.parametrize("raw", [b"[]", b'{"Size":1.5}', b'{"created":null}', b'{"config":[]}'])
def test_a_json_that_docker_cannot_read_has_no_history(raw: bytes) -> None:
    with pytest.raises(FormatError):
        history_entry(raw)


def test_from_1_8_3_on_every_key_is_kept_as_written() -> None:
    raw = (
        b' {"x" : [1.0, "\\u003C<\xff"], "docker_version":"1.8.3", "id":"i", "parent":"p", '
        b'"Size":1, "size":2, "parent_id":"sha256:p", "layer_id":3, "throwaway":true, '
        b'"rootfs":"old", "config":null, "Config":{"B":1,"A":2}} '
    )
    kept = b'{"Config":{"B":1,"A":2},"config":null,"docker_version":"1.8.3",'
    rest = b',"size":2,"x":[1.0,"\\u003C\\u003c\xff"]}'
    assert make_config(raw, DIFF_IDS, HISTORY) == kept + TAIL % b"" + rest


def test_below_1_8_3_only_what_docker_knows_is_kept() -> None:
    raw = (
        b'{"docker_version":"1.8.2","x":1,"id":"i","size":5,"Os":"linux","config":{"Tty":true,'
        b'"ExposedPorts":{"80/tcp":{},"53/udp":null},"Volumes":{"/b":{},"/a":{"x":1}},'
        b'"Labels":{"b":"<","a":null},"Env":[],"Entrypoint":"sh","StopSignal":"9"}}'
    )
    config = (
        b'{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,'
        b'"AttachStderr":false,"ExposedPorts":{"53/udp":{},"80/tcp":{}},"Tty":true,'
        b'"OpenStdin":false,"StdinOnce":false,"Env":[],"Cmd":null,"Image":"",'
        b'"Volumes":{"/a":{},"/b":{}},"WorkingDir":"","Entrypoint":["sh"],"OnBuild":null,'
        b'"Labels":{"a":"","b":"\\u003c"},"StopSignal":"9"}'
    )
    assert make_config(raw, DIFF_IDS, HISTORY) == (
        b'{"config":%s,"container_config":%s,"created":"0001-01-01T00:00:00Z",'
        b'"docker_version":"1.8.2",%s}' % (config, EMPTY_CONTAINER, TAIL % b',"os":"linux"')
    )


def test_null_is_an_image() -> None:
    assert make_config(b"null", DIFF_IDS, HISTORY) == (
        b'{"container_config":%s,"created":"0001-01-01T00:00:00Z",%s}'
        % (EMPTY_CONTAINER, TAIL % b"")
    )


@pytest.mark.parametrize(
    ("version", "old"),
    [
        *((version, False) for version in ("1.8.3", "1.8.3.0", "1.10", "2", "1.08.03", "+1.+8.+3")),
        *((version, True) for version in ("", "1", "1.8", "1.8.2", "1.8.2.9", "1.8.-3", "dev.9")),
        ("1.8.3-rc2", True),
        ("1.8.3.-1", True),
        ("1.9-dev", True),
        ("1_0", True),
        ("1.\u0669", True),
        ("1.18446744073709551615x", True),
        ("1.18446744073709551616x", False),
        ("1.9223372036854775808", False),
        ("1.-99999999999999999999", True),
        ("1." + "0" * 5000 + "9", False),
        ("1." + "9" * 5000, False),
    ],
)
def test_versions_are_compared_as_docker_does(version: str, old: bool) -> None:
    raw = json.dumps({"docker_version": version, "unknown": 1}).encode()
    assert ("unknown" in json.loads(make_config(raw, DIFF_IDS, HISTORY))) is not old


@pytest.mark.parametrize(
    "fields",
    [
        b'"created":null',
        b'"created":"yesterday"',
        b'"config":[]',
        b'"config":{"Cmd":[1]}',
        b'"container_config":{"Labels":{"a":1}}',
        b'"RootFS":5',
        b'"rootf\xc5\xbf":null',
        b'"rootf\xc5\xbf":{"diff_ids":["sha256:cc"]}',
        b'"hi\xc5\xbftory":[{},{},{}]',
    ],
)
def test_a_config_that_docker_would_not_store(fields: bytes) -> None:
    with pytest.raises(FormatError):
        make_config(b'{"docker_version":"1.9.1",' + fields + b"}", DIFF_IDS, HISTORY)


def test_a_time_that_cannot_be_read_again_fails_only_where_it_is_written_anew() -> None:
    raw = b'{"docker_version":"%s","created":"2015-01-01T00:00:00+99:99"}'
    assert b'+99:99"' in make_config(raw % b"1.9.1", DIFF_IDS, HISTORY)
    with pytest.raises(FormatError):
        make_config(raw % b"1.8.2", DIFF_IDS, HISTORY)
    with pytest.raises(FormatError):
        make_config(raw % b"1.9.1", DIFF_IDS, [HISTORY[0], history_entry(raw)])


def test_a_child_inherits_what_other_spellings_of_history_leave_behind() -> None:
    raw = b'{"docker_version":"1.9.1","HISTORY":[{"comment":"c","author":"a"},{}]}'
    assert inherited_history(make_config(raw, DIFF_IDS, HISTORY)) == (
        b'{"created":"0001-01-01T00:00:00Z","author":"a","comment":"c"}',
        HISTORY[1],
    )


keys = ["docker_version", "created", "config", "Cmd", "Env", "rootfs", "history", "parent_id"]
documents = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["1.9", "2015-02-31T0:00:99.1-9:-9Z"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(keys) | st.text(), inner),
).map(lambda value: json.dumps(value).encode())


@given(st.binary() | documents)
def test_any_bytes_raise_nothing_else(raw: bytes) -> None:
    for function in (parent_of, history_entry, lambda raw: make_config(raw, DIFF_IDS, HISTORY)):
        try:
            function(raw)
        except MigratorError:
            continue
