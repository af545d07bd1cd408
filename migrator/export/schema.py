"""Whether an image config is what OCI says it has to be.

The rules are those of the OCI image-spec's `schema/config-schema.json` (1.1); the
format of times is not looked at. Readers are written in Go, whose encoding/json
takes null for a value of any type and leaves that empty; another type is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from migrator.errors import FormatError
from migrator.system.rootfiles import json_value


@dataclass(frozen=True, slots=True)
class Fault:
    """What OCI's schema has against a config; `refused` is whether readers have it, too."""

    text: str
    refused: bool = True

    def __str__(self) -> str:
        return self.text


# Yields what is wrong with a value; the second argument is where it stands.
_Check = Callable[[Any, str], Iterator[Fault]]

_KINDS: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "a string",
    type(None): "null",
}


def faults_of(config: bytes) -> list[Fault]:
    """What OCI's schema has against a config, `config.Cmd is a string, not a list`, say."""
    try:
        return list(_IMAGE(json_value(config), ""))
    except FormatError as error:
        return [Fault(f"it {error.message}")]


def _kind(kind: type) -> _Check:
    def check(value: Any, where: str) -> Iterator[Fault]:
        if type(value) is not kind:
            text = f"{where or 'it'} is {_KINDS[type(value)]}, not {_KINDS[kind]}"
            yield Fault(text, refused=value is not None)

    return check


def _or_null(check: _Check) -> _Check:
    return lambda value, where: iter(()) if value is None else check(value, where)


def _needed(check: _Check) -> _Check:
    """What readers cannot do without, so that null is as bad as another type."""

    def strict(value: Any, where: str) -> Iterator[Fault]:
        for fault in check(value, where):
            yield Fault(fault.text)

    return strict


def _list_of(item: _Check) -> _Check:
    def check(value: Any, where: str) -> Iterator[Fault]:
        yield from _LIST(value, where)
        if isinstance(value, list):
            for number, each in enumerate(value):
                yield from item(each, f"{where}[{number}]")

    return check


def _map_of(item: _Check) -> _Check:
    def check(value: Any, where: str) -> Iterator[Fault]:
        yield from _OBJECT(value, where)
        if isinstance(value, dict):
            for key, each in value.items():
                # The schema says so: what an empty key has is of no interest.
                if key:
                    yield from item(each, f"{where}[{key!r}]")

    return check


def _object(required: tuple[str, ...] = (), **members: _Check) -> _Check:
    named = {name.replace("__", "."): check for name, check in members.items()}

    def check(value: Any, where: str) -> Iterator[Fault]:
        yield from _OBJECT(value, where)
        if isinstance(value, dict):
            below = f"{where}." if where else ""
            for name in required:
                if name not in value:
                    yield Fault(f"{below}{name} is missing")
            for name, member in named.items():
                if name in value:
                    yield from member(value[name], below + name)

    return check


def _layers(value: Any, where: str) -> Iterator[Fault]:
    if value != "layers":
        yield Fault(f"{where} is not 'layers'")


_LIST, _OBJECT, _TEXT, _FLAG = _kind(list), _kind(dict), _kind(str), _kind(bool)
_TEXTS = _list_of(_TEXT)

_IMAGE = _object(
    ("architecture", "os", "rootfs"),
    created=_TEXT,
    author=_TEXT,
    architecture=_needed(_TEXT),
    variant=_TEXT,
    os=_needed(_TEXT),
    os__version=_TEXT,
    os__features=_TEXTS,
    config=_object(
        User=_TEXT,
        ExposedPorts=_map_of(_OBJECT),
        Env=_TEXTS,
        Entrypoint=_or_null(_TEXTS),
        Cmd=_or_null(_TEXTS),
        Volumes=_or_null(_map_of(_OBJECT)),
        WorkingDir=_TEXT,
        Labels=_or_null(_map_of(_TEXT)),
        StopSignal=_TEXT,
        ArgsEscaped=_FLAG,
    ),
    rootfs=_needed(_object(("diff_ids", "type"), diff_ids=_TEXTS, type=_layers)),
    history=_list_of(
        _object(created=_TEXT, author=_TEXT, created_by=_TEXT, comment=_TEXT, empty_layer=_FLAG)
    ),
)
