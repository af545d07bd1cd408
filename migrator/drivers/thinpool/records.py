"""`devicemapper/metadata/`: which thin device a layer is (Docker 1.9 graphdriver/devmapper)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import orjson

from migrator.errors import FormatError, LayerError, MigratorError
from migrator.system.files import list_directory, read_file

# A record is some 80 bytes.
_MAX_RECORD = 4096
# The pool's own records in the same directory.
_OTHERS = frozenset({"deviceset-metadata", "transaction-metadata"})

# Thin devices are numbered with 24 bits (Linux Documentation/admin-guide/device-mapper).
_MAX_NUMBER = (1 << 24) - 1
_MAX_SIZE = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Record:
    """A layer's thin device: its number in the pool and its size in bytes."""

    number: int
    size: int


class Records:
    """All records of a store, read when this is made."""

    def __init__(self, directory: Path) -> None:
        """Raises PermissionDenied, or FormatError if the directory cannot be read."""
        self._records: dict[str, Record | MigratorError] = {}
        for name, _ in list_directory(directory):
            if name not in _OTHERS:
                try:
                    self._records[name] = _read(directory / name)
                except MigratorError as error:
                    self._records[name] = error
        records = [record for record in self._records.values() if isinstance(record, Record)]
        self._claims = Counter(record.number for record in records)

    def of(self, layer: str) -> Record:
        """A layer's record; raises LayerError if none tells its device for certain."""
        record = self._records.get(layer)
        if record is None:
            raise LayerError("its thin device is not recorded")
        if isinstance(record, MigratorError):
            raise LayerError(f"the record of its thin device {record.message}")
        if self._claims[record.number] > 1:
            raise LayerError(f"its thin device {record.number} is recorded for other layers, too")
        return record

    def readable(self) -> list[Record]:
        """All that say something."""
        return [record for record in self._records.values() if isinstance(record, Record)]


def _read(path: Path) -> Record:
    data = read_file(path, _MAX_RECORD)
    try:
        values = orjson.loads(data or b"")
    except orjson.JSONDecodeError:
        raise FormatError("is no JSON") from None
    if not isinstance(values, dict):
        raise FormatError("is no JSON object")
    return Record(_number(values, "device_id", _MAX_NUMBER), _number(values, "size", _MAX_SIZE))


def _number(values: dict[str, object], key: str, most: int) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise FormatError(f"has no usable {key}")
    return value
