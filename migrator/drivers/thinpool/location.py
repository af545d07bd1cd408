"""Where a store's thin pool is, and whether the kernel has it open.

What devices are made of is told by sysfs (Documentation/ABI/stable/sysfs-block):
`slaves` are the devices below one, `holders` those above.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from migrator.drivers.thinpool.superblock import Superblock
from migrator.errors import DriverError
from migrator.system.files import is_regular
from migrator.text import shown

DATA, METADATA, POOL = "dm.datadev", "dm.metadatadev", "dm.thinpooldev"

_SYS = Path("/sys")
_DEV = Path("/dev")
_MAPPER = _DEV / "mapper"

# Docker's pool on its loop devices, or LVM's on its volumes, is less deep.
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class PoolPlace:
    """The files or block devices of a pool."""

    data: Path
    metadata: Path


def find_pool(directory: Path, options: Mapping[str, str], sys: Path = _SYS) -> PoolPlace:
    """The pool of the store with the driver's directory `directory`.

    `options` are the daemon's: data and metadata, or one pool of the kernel's.
    Without any, the two files of the loop-lvm mode. Raises DriverError.
    """
    if POOL in options:
        if DATA in options or METADATA in options:
            raise DriverError(f"{POOL} names the whole pool: give either it or {DATA}, {METADATA}")
        return _parts(_device(options[POOL]), sys)
    if (DATA in options) != (METADATA in options):
        raise DriverError(f"{DATA} and {METADATA} belong together")
    if DATA in options:
        place = PoolPlace(Path(options[DATA]), Path(options[METADATA]))
        for path in (place.data, place.metadata):
            _check(path)
        return place
    files = directory / "devicemapper"
    place = PoolPlace(files / "data", files / "metadata")
    if not (is_regular(place.data) and is_regular(place.metadata)):
        raise DriverError(
            "the thin pool is not in the data root (no files data and metadata)",
            subject=shown(str(files)),
            hint=f"name its devices as the daemon's options did: --storage-opt {DATA}=DEVICE"
            f" --storage-opt {METADATA}=DEVICE, or --storage-opt {POOL}=DEVICE",
        )
    return place


def users(place: PoolPlace, sys: Path = _SYS) -> list[str]:
    """The device-mapper devices that have data or metadata open, by name."""
    found: dict[str, None] = {}
    for path in (place.data, place.metadata):
        status = path.stat()
        if stat.S_ISBLK(status.st_mode):
            directories = [_directory(path, sys)]
        else:
            directories = list(_loops_over(status, sys))
        for directory in directories:
            found |= dict.fromkeys(_name(sys, holder) for holder in _names(directory / "holders"))
    return list(found)


def _parts(pool: Path, sys: Path) -> PoolPlace:
    """The two devices that a thin pool of the kernel's consists of.

    LVM puts another device or two on top of the pool, each on a single one.
    """
    directory = _directory(pool, sys)
    for _ in range(_DEEPEST):
        below = [_DEV / name for name in _names(directory / "slaves")]
        if len(below) != 1:
            break
        directory = _directory(below[0], sys)
    if len(below) == 2:
        for metadata, data in (below, below[::-1]):
            try:
                Superblock.read(metadata)
            except DriverError:
                continue
            return PoolPlace(data, metadata)
    raise DriverError(
        "is no thin pool whose data and metadata can be found in /sys",
        subject=shown(str(pool)),
        hint=f"name them: --storage-opt {DATA}=DEVICE --storage-opt {METADATA}=DEVICE",
    )


def _device(name: str) -> Path:
    """The device that the daemon's option means: a path, or a name in /dev/mapper."""
    path = Path(name) if name.startswith("/") else _MAPPER / name
    _check(path)
    if not path.is_block_device():
        raise DriverError("is no block device", subject=shown(str(path)))
    return path


def _check(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DriverError(
            f"cannot be used ({error.strerror})",
            subject=shown(str(path)),
            hint="a volume of LVM's has to be active: lvchange -ay",
        ) from None
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        raise DriverError("is neither a block device nor a file", subject=shown(str(path)))


def _directory(device: Path, sys: Path) -> Path:
    number = device.stat().st_rdev
    return sys / f"dev/block/{os.major(number)}:{os.minor(number)}"


def _loops_over(status: os.stat_result, sys: Path) -> Iterator[Path]:
    """The directories in sysfs of the loop devices that show a file."""
    for name in _names(sys / "block"):
        backing = sys / "block" / name / "loop/backing_file"
        try:
            file = Path(os.fsdecode(backing.read_bytes().rstrip(b"\n")))
            if os.path.samestat(file.stat(), status):
                yield sys / "block" / name
        except (OSError, ValueError):
            continue


def _name(sys: Path, device: str) -> str:
    """A device-mapper device's name, as `dmsetup` shows it."""
    try:
        return shown((sys / "block" / device / "dm/name").read_text("utf-8", "replace").strip())
    except OSError:
        return device


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
