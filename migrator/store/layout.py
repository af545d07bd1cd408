"""Where things are below `image/`: every path of the content-addressed store (Docker >= 1.10).

    image/<driver>/layerdb/sha256/<chainID>/  cache-id diff parent size tar-split.json.gz
                   layerdb/mounts/<container>/  mount-id init-id parent
                   imagedb/content/sha256/<image ID>
                   imagedb/metadata/sha256/<image ID>/  parent lastUpdated
                   repositories.json
                   distribution/diffid-by-digest/<algorithm>/<digest>
                   distribution/v2metadata-by-diffid/<algorithm>/<diffID>

Source: Docker 1.10 `layer/filestore.go`, `image/fs.go`, `reference/store.go`,
`distribution/metadata`. Paths are relative to the data root.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from migrator.errors import Subject
from migrator.layer.identity import SHA256, hex_part

TOP = "image"
"""The directory with a store for each storage driver."""

RECORD = "tar-split.json.gz"
CACHE_ID = "cache-id"
PARENT = "parent"
MOUNT_ID = "mount-id"
INIT_ID = "init-id"
LAST_UPDATED = "lastUpdated"

LAYERS = "layerdb"
IMAGES = "imagedb"
DISTRIBUTION = "distribution"
REFERENCES = "repositories.json"

_HASHED = "sha256"
_CONTENT = "content"
_MOUNTS = "mounts"
_BY_DIGEST = "diffid-by-digest"
_BY_DIFF_ID = "v2metadata-by-diffid"

# Of a layer that Docker removed and got again: these need not be what they were.
_NEW_WITH_LAYER = (CACHE_ID, "size", RECORD)


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths in the store of one storage driver; digests are given with their `sha256:`."""

    driver: str

    @property
    def store(self) -> str:
        return f"{TOP}/{self.driver}"

    @property
    def layerdb(self) -> str:
        """Its presence says that there is a store."""
        return f"{self.store}/{LAYERS}"

    @property
    def layers(self) -> str:
        """The directory with one directory a layer, named by the chainID's hex digits."""
        return f"{self.layerdb}/{_HASHED}"

    def layer(self, chain: str) -> str:
        return f"{self.layers}/{hex_part(chain)}"

    @property
    def mounts(self) -> str:
        """The directory with one directory a container."""
        return f"{self.layerdb}/{_MOUNTS}"

    def mount(self, container: str) -> str:
        return f"{self.mounts}/{container}"

    @property
    def configs(self) -> str:
        """The directory of image configs, named by the image ID's hex digits."""
        return f"{self.store}/{IMAGES}/{_CONTENT}/{_HASHED}"

    def config(self, image_id: str) -> str:
        return f"{self.configs}/{hex_part(image_id)}"

    @property
    def metadata(self) -> str:
        """The directory with one directory for each image that has metadata."""
        return f"{self.store}/{IMAGES}/metadata/{_HASHED}"

    def image_metadata(self, image_id: str) -> str:
        return f"{self.metadata}/{hex_part(image_id)}"

    def parent(self, image_id: str) -> str:
        """The file that names an image's parent."""
        return f"{self.image_metadata(image_id)}/{PARENT}"

    @property
    def references(self) -> str:
        return f"{self.store}/{REFERENCES}"

    @property
    def by_digest(self) -> str:
        """The directory of diffIDs by blob digest."""
        return f"{self.store}/{DISTRIBUTION}/{_BY_DIGEST}"

    def digest(self, digest: str) -> str:
        return f"{self.by_digest}/{digest.replace(':', '/')}"

    @property
    def by_diff_id(self) -> str:
        """The directory of blob digests by diffID."""
        return f"{self.store}/{DISTRIBUTION}/{_BY_DIFF_ID}"

    def diff_id(self, diff_id: str) -> str:
        return f"{self.by_diff_id}/{diff_id.replace(':', '/')}"


class Kind(enum.Enum):
    """What a file or directory below `image/` is a part of."""

    LAYER = enum.auto()
    MOUNT = enum.auto()
    CONFIG = enum.auto()
    METADATA = enum.auto()
    REFERENCES = enum.auto()
    DIGEST = enum.auto()
    OTHER = enum.auto()


@dataclass(frozen=True, slots=True)
class Part:
    """A path below `image/`, understood: of which driver's store, what, and its name there.

    `name` is a chainID, container, image ID or digest, empty where there is none;
    `file` is what is below the directory of that name.
    """

    driver: str
    kind: Kind
    name: str = ""
    file: str = ""

    @property
    def subject(self) -> Subject:
        """Which kind of thing it is to people."""
        return {
            Kind.LAYER: Subject.LAYER,
            Kind.MOUNT: Subject.CONTAINER,
            Kind.CONFIG: Subject.IMAGE,
            Kind.METADATA: Subject.IMAGE,
            Kind.DIGEST: Subject.DIGEST,
        }.get(self.kind, Subject.ROOT)

    @property
    def is_written_once(self) -> bool:
        """Whether Docker never changes such a file, but for removing it."""
        return self.kind in (Kind.LAYER, Kind.MOUNT, Kind.CONFIG)

    @property
    def is_new_with_layer(self) -> bool:
        """Whether it is another when Docker has removed a layer and gets the same again."""
        return self.kind is Kind.LAYER and self.file in _NEW_WITH_LAYER

    @property
    def directory(self) -> str | None:
        """The directory that comes and goes as a whole with it; None for a file of its own."""
        if self.kind is Kind.LAYER:
            return Layout(self.driver).layer(self.name)
        return Layout(self.driver).mount(self.name) if self.kind is Kind.MOUNT else None


def part(path: str) -> Part | None:
    """What a path in a data root is a part of; None for one that is not below `image/`."""
    match path.split("/"):
        case [top, driver, *rest] if top == TOP:
            return _within(driver, rest)
    return None


def _within(driver: str, rest: list[str]) -> Part:
    match rest:
        case [db, kind, name, *file] if db == LAYERS and kind == _MOUNTS:
            return Part(driver, Kind.MOUNT, name, "/".join(file))
        case [db, kind, name, *file] if db == LAYERS:
            return Part(driver, Kind.LAYER, SHA256 + name, "/".join(file))
        case [db, kind, _, name, *file] if db == IMAGES:
            found = Kind.CONFIG if kind == _CONTENT else Kind.METADATA
            return Part(driver, found, SHA256 + name, "/".join(file))
        case [db, _, algorithm, name] if db == DISTRIBUTION:
            return Part(driver, Kind.DIGEST, f"{algorithm}:{name}")
        case [name] if name == REFERENCES:
            return Part(driver, Kind.REFERENCES)
    return Part(driver, Kind.OTHER)
