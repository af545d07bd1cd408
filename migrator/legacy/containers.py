"""The containers of a legacy store: `containers/<ID>/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from migrator import gojson
from migrator.errors import FormatError, Problem, Subject
from migrator.system.files import MAX_CONTAINERS_JSON, MAX_JSON, list_directory, read_file
from migrator.text import shown


@dataclass(frozen=True, slots=True)
class LegacyContainer:
    """A container: `config` and `hostconfig` are its files as written, `v1_id` is its image.

    `name` has no leading `/`. `id` is the name of its directory.
    """

    id: str
    config: bytes
    hostconfig: bytes | None
    v1_id: str
    name: str
    driver: str

    @property
    def shown(self) -> str:
        """How messages name it."""
        return f"{shown(self.id)} ({shown(self.name)})" if self.name else shown(self.id)


@dataclass(frozen=True, slots=True)
class _Settings:
    name: str = gojson.member(gojson.STRING, "Name")
    driver: str = gojson.member(gojson.STRING, "Driver")


_SETTINGS = gojson.Struct(_Settings)


def read_containers(directory: Path, driver: str) -> tuple[list[LegacyContainer], list[Problem]]:
    """The containers below `containers/` that belong to `driver`, sorted by ID, and the problems.

    Whether their images are there is not looked at. Raises PermissionDenied,
    or FormatError if the directory cannot be listed.
    """
    containers: list[LegacyContainer] = []
    problems: list[Problem] = []
    left = MAX_CONTAINERS_JSON
    for name, is_directory in list_directory(directory):
        try:
            if not is_directory:
                raise FormatError("is not a directory in containers/")
            names = {entry for entry, _ in list_directory(directory / name)}
            if not names:
                raise FormatError("its directory is empty")
            # With the second alone it was made by Docker >= 1.10.
            if "config.json" in names or "config.v2.json" not in names:
                if left < 0:
                    reason = f"the containers before it have {MAX_CONTAINERS_JSON} bytes of JSON"
                    raise FormatError(reason)
                container = _read_container(directory / name)
                left -= len(container.config) + len(container.hostconfig or b"")
                if container.driver not in ("", driver):
                    other = shown(container.driver)
                    reason = f"it belongs to the store of the {other} driver and stays as it is"
                    problems.append(Problem(Subject.CONTAINER, container.shown, reason))
                else:
                    containers.append(container)
        except FormatError as error:
            problems.append(Problem(Subject.CONTAINER, shown(name), str(error)))
    return containers, problems


def _read_container(directory: Path) -> LegacyContainer:
    if not directory.name.isprintable():
        raise FormatError("its directory's name is no text")
    config = read_file(directory / "config.json", MAX_JSON)
    if config is None:
        raise FormatError("has no config.json")
    try:
        image = image_of(config)
        settings = gojson.decode(config, _SETTINGS)
    except FormatError as error:
        raise FormatError(error.message, subject="config.json") from None
    return LegacyContainer(
        id=directory.name,
        config=config,
        hostconfig=read_file(directory / "hostconfig.json", MAX_JSON),
        v1_id=image,
        name=settings.name.removeprefix("/"),
        driver=settings.driver,
    )


def image_of(config_json: bytes) -> str:
    """The v1 ID of the image that this container was made from.

    The key is `Image` in exactly this spelling. Raises FormatError if it is missing or null.
    """
    image = gojson.members(config_json).get("Image")
    if image is None or image == b"null":
        raise FormatError("the container names no image")
    return gojson.decode(image, gojson.STRING)
