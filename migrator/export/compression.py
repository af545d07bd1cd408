"""How layers are compressed: as streams, repeatably, without times and names."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

import zstandard
from isal import isal_zlib

from migrator.errors import UsageError

# Of zlib's `wbits`: gzip around it.
_GZIP = 31


class Compressor(Protocol):
    """Compresses one stream; both methods return what is ready of it."""

    def compress(self, data: memoryview) -> bytes: ...
    def flush(self) -> bytes: ...


class Algorithm(enum.StrEnum):
    """How a blob is compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"
    NONE = "none"


# ISA-L's levels, not gzip's: 2 packs better than 1 at the same speed. Of zstd's, those above 19
# take windows that readers may refuse.
_LEVELS = {Algorithm.GZIP: (range(4), 2), Algorithm.ZSTD: (range(1, 20), 3)}


@dataclass(frozen=True, slots=True)
class Compression:
    """An algorithm and its level (0 for none)."""

    algorithm: Algorithm
    level: int = 0

    @classmethod
    def of(cls, algorithm: str, level: int | None = None) -> Compression:
        """By name, at its usual level if none is given.

        Raises UsageError for an algorithm or level that there is not.
        """
        try:
            chosen = Algorithm(algorithm)
        except ValueError:
            raise UsageError(f"there is no compression {algorithm!r}") from None
        if chosen is Algorithm.NONE:
            if level is not None:
                raise UsageError("a level makes no sense without compression")
            return cls(chosen)
        levels, usual = _LEVELS[chosen]
        if level is not None and level not in levels:
            raise UsageError(f"{chosen} has the levels {levels[0]} to {levels[-1]}, not {level}")
        return cls(chosen, usual if level is None else level)

    def compressor(self) -> Compressor | None:
        """What compresses one stream; None if nothing is to be done to it."""
        if self.algorithm is Algorithm.GZIP:
            made: Compressor = isal_zlib.compressobj(self.level, isal_zlib.DEFLATED, _GZIP)
            return made
        if self.algorithm is Algorithm.ZSTD:
            return zstandard.ZstdCompressor(self.level, write_checksum=True).compressobj()
        return None
