"""Our check of configs against OCI's schema, held against the schema itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft4Validator

from migrator.export.schema import Fault, faults_of

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_OBJECTS = {"type": "object", "patternProperties": {".{1,}": {"type": "object"}}}
_LABELS = {"type": "object", "patternProperties": {".{1,}": _TEXT}}
_NULL = {"type": "null"}

# The rules of image-spec 1.1, schema/config-schema.json.
SCHEMA = {
    "type": "object",
    "required": ["architecture", "os", "rootfs"],
    "properties": {
        **dict.fromkeys(
            ("created", "author", "architecture", "variant", "os", "os.version"), _TEXT
        ),
        "os.features": _TEXTS,
        "config": {
            "type": "object",
            "properties": {
                **dict.fromkeys(("User", "WorkingDir", "StopSignal"), _TEXT),
                "Entrypoint": {"oneOf": [_TEXTS, _NULL]},
                "Cmd": {"oneOf": [_TEXTS, _NULL]},
                "Env": _TEXTS,
                "ExposedPorts": _OBJECTS,
                "Volumes": {"oneOf": [_OBJECTS, _NULL]},
                "Labels": {"oneOf": [_LABELS, _NULL]},
                "ArgsEscaped": {"type": "boolean"},
            },
        },
        "rootfs": {
            "type": "object",
            "required": ["diff_ids", "type"],
            "properties": {"diff_ids": _TEXTS, "type": {"type": "string", "enum": ["layers"]}},
        },
        "history": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("created", "author", "created_by", "comment"), _TEXT),
                    "empty_layer": {"type": "boolean"},
                },
            },
        },
    },
}

VALUES = (None, True, 0, 1.5, "", "text", [], ["a"], [1], {}, {"a": {}}, {"a": "b"}, {"": 1})


def good() -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": [], "Volumes": None},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:00"]},
        "history": [{"created_by": "x"}],
    }


def places() -> list[tuple[str, ...]]:
    """The path of everything that the schema knows of."""

    def below(schema: dict[str, Any], path: tuple[str, ...]) -> list[tuple[str, ...]]:
        found = [path] if path else []
        for name, member in schema.get("properties", {}).items():
            found += below(member, (*path, name))
        return found

    history = SCHEMA["properties"]["history"]["items"]["properties"]  # type: ignore[index]
    return [*below(SCHEMA, ()), *(("history", name) for name in history)]


@pytest.mark.parametrize("place", places(), ids=".".join)
def test_any_value_anywhere(place: tuple[str, ...]) -> None:
    for value in VALUES:
        document = good()
        at: Any = document
        for name in place[:-1]:
            at = at[name]
        if place[0] == "history" and len(place) > 1:
            at = at[0]
        at[place[-1]] = value
        faults = faults_of(json.dumps(document).encode())
        valid = Draft4Validator(SCHEMA).is_valid(document)
        assert (faults == []) == valid, (document, faults)
        # Go reads null as nothing; but without these an image is none.
        taken = value is None and place[0] not in ("architecture", "os", "rootfs")
        assert all(fault.refused is not taken for fault in faults), (document, faults)


@pytest.mark.parametrize("missing", ["architecture", "os", "rootfs", "config", "history"])
def test_what_is_missing(missing: str) -> None:
    document = good()
    del document[missing]
    optional = missing in ("config", "history")
    assert faults_of(json.dumps(document).encode()) == (
        [] if optional else [Fault(f"{missing} is missing")]
    )


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (b'{"Cmd":"sh"}', "config.Cmd is a string, not a list"),
        (b'{"Env":[1]}', "config.Env[0] is a number, not a string"),
        (b'{"ExposedPorts":{"80":1}}', "config.ExposedPorts['80'] is a number, not an object"),
        (b"[" * 100_000 + b"]" * 100_000, "it is nested too deeply for JSON of Docker's"),
    ],
)
def test_messages(config: bytes, fault: str) -> None:
    document = (
        json.dumps(good()).encode().replace(b'{"Cmd": ["sh"], "Env": [], "Volumes": null}', config)
    )
    assert faults_of(document) == [Fault(fault)]


@pytest.mark.parametrize(
    "config", [b'{"Env":[null]}', b'{"ExposedPorts":{"80":null}}', b'{"Labels":{"a":null}}']
)
def test_null_within_a_list_or_map_is_taken(config: bytes) -> None:
    whole = json.dumps(good()).encode()
    document = whole.replace(b'{"Cmd": ["sh"], "Env": [], "Volumes": null}', config)
    assert [fault.refused for fault in faults_of(document)] == [False]
