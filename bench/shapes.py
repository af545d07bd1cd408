"""What the synthetic stores look like: images, their layers, and sizes like real ones."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from random import Random

# Sizes of regular files with content on a Debian 12 with the usual tools, /usr and
# /etc: the size that so many percent do not exceed, for the 128,809 files below 3 MB
# (16.5 kB on average). 212 larger ones hold two thirds of all bytes.
_PERCENTS = (
    *(0, 5, 10, 15, 20, 25, 30, 35, 40),
    *(45, 50, 55, 60, 65, 70, 75, 80, 85),
    *(90, 95, 96, 97, 98, 99, 99.5, 99.9, 100),
)
_SIZES = (
    *(1, 200, 370, 530, 680, 860, 1_030, 1_190, 1_380),
    *(1_620, 1_950, 2_400, 2_980, 3_710, 4_880, 6_770, 9_800, 14_700),
    *(23_700, 52_800, 67_400, 90_500, 129_800, 251_500, 483_300, 1_643_000, 3_054_000),
)
# The percent that hold what counts as small.
_SMALL = 75
# One file in so many is one of the few that hold most of the bytes.
_LARGE = 600


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
            return [
                int(self.bytes / self.files * random.uniform(0.7, 1.3)) for _ in range(self.files)
            ]
        if self.small:
            return [_draw(random, _SMALL) for _ in range(self.files)]
        sizes = [_draw(random, 100) for _ in range(self.files)]
        rest = self.bytes - sum(sizes)
        if rest <= 0:
            return [max(1, size * self.bytes // sum(sizes)) for size in sizes]
        chosen = random.sample(range(self.files), math.ceil(self.files / _LARGE))
        weights = [random.uniform(0, 1) ** 2 + 0.05 for _ in chosen]
        for index, weight in zip(chosen, weights, strict=True):
            sizes[index] += int(rest * weight / sum(weights))
        return sizes


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
        Layer(int(size * 1e6), files := math.ceil(size * 1e6 / 32_000), files // 5)
        for size in sizes
    )


def _draw(random: Random, most: float) -> int:
    """A size from among the lowest `most` percent."""
    percent = random.uniform(0, most)
    at = bisect.bisect_right(_PERCENTS, percent) - 1
    after = min(at + 1, len(_PERCENTS) - 1)
    step = _PERCENTS[after] - _PERCENTS[at]
    part = (percent - _PERCENTS[at]) / step if step else 0.0
    return int(_SIZES[at] * (_SIZES[after] / _SIZES[at]) ** part)


_NONE = Layer()

# The seven images of docker/v1.10-migrator's example. Their sizes are the documented
# ones, the way they split into layers is that of the images of early 2016: a base, a
# few large layers, small ones, and those of ENV, CMD and EXPOSE, which hold nothing.
_DOCUMENTED = (
    Image("debian", _mb(125.1)),
    Image(
        "jenkins",
        (
            *_mb(44.3, 122.3),
            _NONE,
            *_mb(1.3, 270.0, 0.4),
            _NONE,
            *_mb(0.3, 79.4, 65.4),
            *(_NONE,) * 9,
        ),
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
    "empty": Shape(
        "500 layers without data, in four lines of 125",
        tuple(Image(f"empty-{number}", (_NONE,) * 125) for number in range(4)),
    ),
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
