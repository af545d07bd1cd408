"""The v1 json of a legacy image, `graph/<v1 ID>/json`, as Docker 1.10.3 reads it.

Docker: image/image.go (V1Image), engine-api's container.Config, pkg/stringutils
(StrSlice), migrate/v1/migratev1.go (getParent).
"""

# ruff: noqa: RUF009 (`member` makes a dataclasses.field, nothing is shared)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from migrator import gojson
from migrator.errors import FormatError
from migrator.gojson import BOOL, INT64, STR_SLICE, STRING, STRINGS, TIME, Struct, member
from migrator.text import shown


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Go's struct{}."""


_SET = gojson.MapOf(Struct(_Nothing))


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """engine-api's container.Config; the order of the fields is that of the JSON."""

    hostname: str = member(STRING, "Hostname")
    domainname: str = member(STRING, "Domainname")
    user: str = member(STRING, "User")
    attach_stdin: bool = member(BOOL, "AttachStdin")
    attach_stdout: bool = member(BOOL, "AttachStdout")
    attach_stderr: bool = member(BOOL, "AttachStderr")
    exposed_ports: Mapping[str, _Nothing] | None = member(_SET, "ExposedPorts", omitempty=True)
    publish_service: str = member(STRING, "PublishService", omitempty=True)
    tty: bool = member(BOOL, "Tty")
    open_stdin: bool = member(BOOL, "OpenStdin")
    stdin_once: bool = member(BOOL, "StdinOnce")
    env: tuple[str, ...] | None = member(STRINGS, "Env")
    cmd: tuple[str, ...] | None = member(STR_SLICE, "Cmd")
    args_escaped: bool = member(BOOL, "ArgsEscaped", omitempty=True)
    image: str = member(STRING, "Image")
    volumes: Mapping[str, _Nothing] | None = member(_SET, "Volumes")
    working_dir: str = member(STRING, "WorkingDir")
    entrypoint: tuple[str, ...] | None = member(STR_SLICE, "Entrypoint")
    network_disabled: bool = member(BOOL, "NetworkDisabled", omitempty=True)
    mac_address: str = member(STRING, "MacAddress", omitempty=True)
    on_build: tuple[str, ...] | None = member(STRINGS, "OnBuild")
    labels: Mapping[str, str] | None = member(gojson.MapOf(STRING), "Labels")
    stop_signal: str = member(STRING, "StopSignal", omitempty=True)


_CONTAINER = Struct(ContainerConfig)


@dataclass(frozen=True, slots=True)
class V1Image:
    """image.V1Image: what Docker knows of a v1 json."""

    id: str = member(STRING, "id", omitempty=True)
    parent: str = member(STRING, "parent", omitempty=True)
    comment: str = member(STRING, "comment", omitempty=True)
    created: gojson.GoTime = member(TIME, "created")
    container: str = member(STRING, "container", omitempty=True)
    container_config: ContainerConfig = member(_CONTAINER, "container_config")
    docker_version: str = member(STRING, "docker_version", omitempty=True)
    author: str = member(STRING, "author", omitempty=True)
    config: ContainerConfig | None = member(gojson.Pointer(_CONTAINER), "config", omitempty=True)
    architecture: str = member(STRING, "architecture", omitempty=True)
    os: str = member(STRING, "os", omitempty=True)
    size: int = member(INT64, "Size", omitempty=True)


V1_IMAGE = Struct(V1Image)


@dataclass(frozen=True, slots=True)
class _Parent:
    parent: str = member(STRING, "Parent")
    parent_id: str = member(STRING, "parent_id")


_PARENT = Struct(_Parent)


def parent_of(raw: bytes) -> str:
    """The v1 ID that this v1 json names as its parent; empty for a base image.

    That is `parent`, else what follows the first `:` of `parent_id`. The file `parent`
    beside the json, which overrides both, is not looked at.
    Raises FormatError, also for a `parent_id` without `:` (there Docker panics).
    """
    named = gojson.decode(raw, _PARENT)
    if named.parent or not named.parent_id:
        return named.parent
    _algorithm, colon, digits = named.parent_id.partition(":")
    if not colon:
        raise FormatError(f"parent_id {shown(named.parent_id)} is no digest")
    return digits
