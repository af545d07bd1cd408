"""Which data block of a pool each block of its thin devices is in, as `thin_dump` tells.

Its XML (thin-provisioning-tools, both the C++ and the Rust one) has a `device`
for every thin device, in it `single_mapping` and `range_mapping`, and, since
1.0, `ref` to a `def` before the devices for what several of them share.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.parsers import expat

from migrator.errors import DriverError
from migrator.text import shown

Run = tuple[int, int, int]
"""Consecutive blocks: the first one's number in the device, in the pool's data, and how many."""

PACKAGE = "thin-provisioning-tools (Red Hat: device-mapper-persistent-data)"

# That is 1.5 GB of memory; a pool of 100 layers with 100 GB each has a tenth of it.
_MOST_RUNS = 1 << 27

# Where it is even if a user's PATH leaves it out.
_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


class Mapping:
    """The runs of one device, ascending, kept in 12 bytes each; numbers are below 2**32.

    `blocks` counts what is mapped. `fault` says what is wrong with it, if
    anything is.
    """

    __slots__ = ("_numbers", "blocks", "fault")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._numbers = array("I")
        self.blocks = 0
        self.fault: str | None = None
        for run in runs:
            self.add(*run)

    def __iter__(self) -> Iterator[Run]:
        numbers = iter(self._numbers)
        return zip(numbers, numbers, numbers, strict=True)

    @property
    def end(self) -> int:
        """The number after that of the last block mapped."""
        return self._numbers[-3] + self._numbers[-1] if self._numbers else 0

    def add(self, origin: int, block: int, length: int) -> None:
        """Append a run."""
        if origin < self.end or length < 1:
            self.fault = "is mapped in no order, or twice"
            return
        try:
            self._numbers.extend((origin, block, length))
        except OverflowError:
            self.fault = "is mapped to numbers that no pool has"
            del self._numbers[3 * (len(self._numbers) // 3) :]
            return
        self.blocks += length

    def tobytes(self) -> bytes:
        """What is equal for equal mappings only."""
        return self._numbers.tobytes()

    def first_overlap(self) -> int | None:
        """A data block that stands for two blocks of the device, which none may; None as usual."""
        end = 0
        for block, length in sorted((block, length) for _, block, length in self):
            if block < end:
                return block
            end = block + length
        return None


def changed(new: Iterable[Run], old: Iterable[Run]) -> list[Run]:
    """What of `new` is not mapped to the same data in `old`, ascending."""
    only_new, only_old = _unlike(new, old)
    return _without(only_new, only_old, same_data=True)


def unmapped(new: Iterable[Run], old: Iterable[Run]) -> list[Run]:
    """What of `old` is not mapped in `new`, ascending."""
    only_new, only_old = _unlike(new, old)
    return _without(only_old, only_new, same_data=False)


def distinct_data(mappings: Iterable[Iterable[Run]]) -> int:
    """How many blocks of data these have between them."""
    return _union((block, length) for runs in mappings for _, block, length in runs)


def extent(mappings: Iterable[Iterable[Run]]) -> int:
    """How many blocks a device has mapped that has all those mapped that any of these has."""
    return _union((origin, length) for runs in mappings for origin, _, length in runs)


def _union(spans: Iterable[tuple[int, int]]) -> int:
    count = end = 0
    for start, length in sorted(set(spans)):
        count += max(0, start + length - max(start, end))
        end = max(end, start + length)
    return count


def total(runs: Iterable[Run]) -> int:
    """How many blocks these are."""
    return sum(length for _, _, length in runs)


def _unlike(first: Iterable[Run], second: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """The runs that only one of them has: few of those of two snapshots, and found at C's speed.

    A run that both have overlaps no other, so what is left can be compared by itself.
    """
    one, other = set(first), set(second)
    return sorted(one - other), sorted(other - one)


def _without(runs: Sequence[Run], others: Sequence[Run], *, same_data: bool) -> list[Run]:
    """What of `runs` none of `others` covers (with `same_data`: maps to the same data)."""
    left: list[Run] = []
    at = 0
    for origin, block, length in runs:
        start, end = origin, origin + length
        while at < len(others) and others[at][0] + others[at][2] <= start:
            at += 1
        for index in range(at, len(others)):
            other, other_block, other_length = others[index]
            if other >= end:
                break
            if same_data and other_block - other != block - origin:
                continue
            if other > start:
                left.append((start, block + start - origin, other - start))
            start = max(start, other + other_length)
        if start < end:
            left.append((start, block + start - origin, end - start))
    return left


def thin_dump() -> str | None:
    """The program, if it is there."""
    return shutil.which("thin_dump") or shutil.which("thin_dump", path=_SYSTEM)


def read_mappings(metadata: Path, snapshot: int | None) -> dict[int, Mapping]:
    """The mappings of all devices of a pool by device number.

    `snapshot` is the block of the metadata snapshot, if that is to be read.
    Of damaged metadata the devices are given that can be told, the others with
    a `fault` or not at all. Raises DriverError when there is no telling.
    """
    which = [] if snapshot is None else [f"-m{snapshot}"]
    try:
        return _dumped(metadata, which, whole=True)
    except DriverError as error:
        try:
            return _dumped(metadata, [*which, "--repair"], whole=False)
        except DriverError:
            # What was said first is what is wrong.
            raise error from None


def _dumped(metadata: Path, options: list[str], *, whole: bool) -> dict[int, Mapping]:
    program = thin_dump()
    assert program is not None
    dump = _Dump(whole)
    with tempfile.TemporaryFile() as said:
        command = [program, *options, str(metadata)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process:
            assert process.stdout is not None
            fault = ""
            try:
                dump.parser.ParseFile(process.stdout)
            except (expat.ExpatError, KeyError, ValueError) as error:
                fault = f"its output cannot be read: {error}"
            except BaseException:
                process.kill()
                raise
        said.seek(0)
        words = " ".join(said.read(4096).decode("utf-8", "replace").split())
    if not (whole or dump.devices):
        fault = "no device can be told"
    if process.returncode or fault:
        raise DriverError(
            f"the thin pool's metadata is damaged (thin_dump: {shown(words or fault)})",
            subject=shown(str(metadata)),
            hint="thin_check tells more; thin_repair may help, on a copy",
        )
    return dump.devices


class _Dump:
    """What `thin_dump` prints, taken in as it comes.

    Of damaged metadata (`whole` is false) only those devices count as told
    that have as many blocks as their own record says.
    """

    def __init__(self, whole: bool) -> None:
        self.devices: dict[int, Mapping] = {}
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self._whole = whole
        self._shared: dict[str, Mapping] = {}
        self._at = Mapping()
        self._promised = 0
        self._left = _MOST_RUNS

    def _begin(self, name: str, values: dict[str, str]) -> None:
        if name == "single_mapping":
            self._add(int(values["origin_block"]), int(values["data_block"]), 1)
        elif name == "range_mapping":
            numbers = (values["origin_begin"], values["data_begin"], values["length"])
            self._add(*map(int, numbers))
        elif name == "device":
            self._at = Mapping()
            self._promised = int(values["mapped_blocks"])
            number = int(values["dev_id"])
            if number in self.devices:
                self._at.fault = "is in the pool twice"
            self.devices[number] = self._at
        elif name == "def":
            self._at = self._shared[values["name"]] = Mapping()
        elif name == "ref":
            for run in self._shared[values["name"]]:
                self._add(*run)

    def _add(self, origin: int, block: int, length: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it has more than {_MOST_RUNS} runs of blocks")
        self._at.add(origin, block, length)

    def _end(self, name: str) -> None:
        if name == "device" and not self._whole and self._at.blocks != self._promised:
            self._at.fault = self._at.fault or (
                f"is damaged in the pool's metadata: {self._at.blocks}"
                f" of {self._promised} blocks can be told"
            )
