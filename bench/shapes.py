"""What the synthetic stores look like: images, their layers, and sizes like real ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

# Sizes of regular files at each 5 % of them, on a Debian 12 with the usual tools
# (/usr and /etc: 133,638 files below 3 MB, 16.6 kB on average; above that 212
# files hold two thirds of all bytes).
_QUANTILES = (
    *(1, 186, 363, 523, 674, 857, 1023, 1180, 1373, 1613, 1937, 2384, 2962, 3688, 4851),
    *(6724, 9731, 14632, 23494, 52382, 1_500_000),
)
# One file in so many is one of the few that hold most of the bytes.
_LARGE = 600
# The first three quarters: what counts as small.
_SMALL = _QUANTILES[:16]


@dataclass(frozen=True, slots=True)
class Layer:
    """`files` regular files with content and `bytes` in all, and `empty` entries without any.

    `large` says that the bytes are spread evenly, `small` that all files are
    small (then `bytes` is what comes out, about).
    """

    bytes: int = 0
    files: int = 0
    empty: int = 0
    large: bool = False
    small: bool = False

    def sizes(self, random: Random) -> list[int]:
        """The sizes of the files, in bytes."""
        if not self.files:
            return []
        if self.large:
            return [int(self.bytes / self.files * random.uniform(0.7, 1.3)) for _ in self._each]
        if self.small:
            return [_draw(random, _SMALL) for _ in self._each]
        sizes = [_draw(random, _QUANTILES) for _ in self._each]
        rest = self.bytes - sum(sizes)
        if rest <= 0:
            return [max(1, size * self.bytes // sum(sizes)) for size in sizes]
        chosen = random.sample(range(self.files), math.ceil(self.files / _LARGE))
        weights = [random.uniform(0, 1) ** 2 + 0.05 for _ in chosen]
        for index, weight in zip(chosen, weights, strict=True):
            sizes[index] += int(rest * weight / sum(weights))
        return sizes

    @property
    def _each(self) -> Iterator[int]:
        return iter(range(self.files))


@dataclass(frozen=True, slots=True)
class Image:
    """A tagged image: its own layers, bottom first, on top of those of the image named `base`."""

    name: str
    layers: tuple[Layer, ...]
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A store: its images (a base comes before what builds on it), with or without records."""

    about: str
    images: tuple[Image, ...]
    records: bool = True
    drivers: tuple[str, ...] = field(default=("aufs", "overlay"))


def _mb(*sizes: float) -> tuple[Layer, ...]:
    """Layers of so many MB, with a file for every 32 kB and a fifth as many empty entries."""
    return tuple(
        Layer(int(size * 1e6), files := math.ceil(size * 1e6 / 32_000), files // 5) for size in sizes
    )


def _draw(random: Random, quantiles: tuple[int, ...]) -> int:
    at = random.uniform(0, len(quantiles) - 1)
    low, high = quantiles[int(at)], quantiles[min(int(at) + 1, len(quantiles) - 1)]
    return int(low * (high / low) ** (at % 1))


_NONE = Layer()

# The seven images of docker/v1.10-migrator's example. Their sizes are the documented
# ones, the way they split into layers is that of the images of early 2016: a base, a
# few large layers, small ones, and those of ENV, CMD and EXPOSE, which hold nothing.
_DOCUMENTED = (
    Image("debian", _mb(125.1)),
    Image(
        "jenkins",
        (*_mb(44.3, 122.3), _NONE, *_mb(1.3, 270.0, 0.4), _NONE, *_mb(0.3, 79.4, 65.4), *(_NONE,) * 9),
        "debian",
    ),
    Image(
        "mysql",
        (*_mb(0.3), _NONE, *_mb(0.7, 39.2), _NONE, *_mb(0.1, 192.9, 2.0), *(_NONE,) * 5),
        "debian",
    ),
    Image("mongo", (*_mb(85.0, 0.4, 10.3), _NONE, *_mb(0.1, 221.6), *(_NONE,) * 6)),
    Image("postgres", (*_mb(125.1, 0.3, 17.2, 1.2), _NONE, *_mb(126.9), *(_NONE,) * 9)),
    Image("redis", (*_mb(0.3, 10.0), _NONE, *_mb(15.9), *(_NONE,) * 8), "debian"),
    Image("centos", (*_mb(196.6), _NONE, _NONE)),
    Image("ubuntu", (*_mb(131.0, 0.2, 0.1), _NONE)),
)

SHAPES = {
    "doc": Shape("the seven images of the documented example, 2.0 GB", _DOCUMENTED),
    "no-records": Shape("as doc, without tar-split records", _DOCUMENTED, records=False),
    "many-small": Shape(
        "300,000 small files in 12 layers",
        tuple(
            Image(f"small-{number}", (Layer(files=75_000, empty=8_000, small=True), *rest))
            for number, rest in enumerate([(Layer(files=12_500, empty=2_000, small=True),) * 2] * 3)
        ),
    ),
    "few-large": Shape(
        "32 files of 45 to 80 MB in 8 layers, 2.0 GB",
        tuple(
            Image(f"large-{number}", (Layer(250_000_000, 4, large=True),) * 2)
            for number in range(4)
        ),
    ),
    "deep": Shape("one image of 120 layers, 0.6 GB", (Image("deep", _mb(*[5.0] * 120)),)),
    "empty": Shape("500 layers without data, in one line", (Image("empty", (_NONE,) * 500),)),
    "million": Shape(
        "1,000,000 entries in one layer",
        (Image("million", (Layer(40_000_000, 20_000, 980_000, small=True),)),),
        drivers=("aufs",),
    ),
    "million-no-record": Shape(
        "1,000,000 entries in one layer, without a record",
        (Image("million", (Layer(40_000_000, 20_000, 980_000, small=True),)),),
        records=False,
        drivers=("aufs",),
    ),
}


def scaled(shape: Shape, scale: float) -> Shape:
    """The same shape with `scale` times the files and bytes; the layers stay."""

    def smaller(layer: Layer) -> Layer:
        return Layer(
            int(layer.bytes * scale),
            math.ceil(layer.files * scale),
            math.ceil(layer.empty * scale),
            layer.large,
            layer.small,
        )

    images = tuple(
        Image(image.name, tuple(map(smaller, image.layers)), image.base) for image in shape.images
    )
    return Shape(shape.about, images, shape.records, shape.drivers)
