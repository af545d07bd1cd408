"""The host: what it lets this process use, and what a report says of it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from migrator.system.mountinfo import join, mount_of, read_mounts, relative

_ROOT = Path("/")

# Bytes that a worker, and the process that directs them, take up at most for an
# ordinary store; what they share is counted with each.
_WORKER_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class Host:
    """The machine a run was made on. Memory is in bytes, `memory` what this process may use."""

    cpu_model: str
    cpus: int
    total_memory: int
    memory: int
    kernel: str
    file_system: str
    python: str

    @classmethod
    def here(cls, path: Path, root: Path = _ROOT) -> Host:
        """This host, with the type of the file system that `path` lies on."""
        return cls(
            cpu_model=_value(root / "proc/cpuinfo", "model name") or platform.machine(),
            cpus=usable_cpus(root),
            total_memory=total_memory(root),
            memory=memory_limit(root),
            kernel=platform.release(),
            file_system=file_system_type(path, root),
            python=platform.python_version(),
        )

    def as_json(self) -> dict[str, str | int]:
        """What a report says of it."""
        return asdict(self)


def usable_cpus(root: Path = _ROOT) -> int:
    """Processors this process can keep busy: by its affinity and its cgroups' quotas.

    A quota of 1.5 processors counts as 2. `root` is where `/proc` and the
    cgroup file systems are looked for.
    """
    cpus = len(os.sched_getaffinity(0))
    for directory in _cgroup_directories("cpu", root):
        limit = _words(directory / "cpu.max") or [
            *_words(directory / "cpu.cfs_quota_us"),
            *_words(directory / "cpu.cfs_period_us"),
        ]
        # Neither `max` nor `-1`, which stand for no quota, are digits.
        if len(limit) == 2 and limit[0].isdigit() and limit[1].isdigit() and int(limit[1]):
            cpus = min(cpus, -(-int(limit[0]) // int(limit[1])))
    return max(cpus, 1)


def default_workers(root: Path = _ROOT) -> int:
    """Worker processes to start when nobody says how many: one a usable CPU, if memory allows."""
    affordable = (memory_limit(root) or sys.maxsize) // _WORKER_MEMORY - 1
    return max(min(usable_cpus(root), affordable), 1)


def total_memory(root: Path = _ROOT) -> int:
    """The machine's memory in bytes; 0 if the kernel does not say."""
    words = _value(root / "proc/meminfo", "MemTotal").split()
    return int(words[0]) * 1024 if words and words[0].isdigit() else 0


def memory_limit(root: Path = _ROOT) -> int:
    """Bytes of memory that this process may use: all, or what its cgroups leave it."""
    limits = [total_memory(root)]
    for directory in _cgroup_directories("memory", root):
        limit = _words(directory / "memory.max") or _words(directory / "memory.limit_in_bytes")
        if limit and limit[0].isdigit():
            limits.append(int(limit[0]))
    return min(limit for limit in limits if limit) if any(limits) else 0


def file_system_type(path: Path, root: Path = _ROOT) -> str:
    """The type of the file system that `path` lies on, such as `ext4`; `unknown` if not found."""
    mount = mount_of(read_mounts(root / "proc/self/mountinfo"), os.path.realpath(path))
    return "unknown" if mount is None else mount.fs_type


def _cgroup_directories(controller: str, root: Path) -> Iterator[Path]:
    """This process's cgroup for a controller and its ancestors, in version 1 and 2.

    As far as they are mounted: in a container only some may be.
    """
    groups: dict[str, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        names, _, path = line.partition(":")[2].partition(":")
        groups |= dict.fromkeys(names.split(","), path)
    for mount in read_mounts(root / "proc/self/mountinfo"):
        if mount.fs_type == "cgroup2":
            group = groups.get("")
        elif mount.fs_type == "cgroup" and controller in mount.options.split(","):
            group = groups.get(controller)
        else:
            continue
        if group is None:
            continue
        below = relative(group, mount.root) or ""
        while True:
            yield root / join(mount.mount_point, below).lstrip("/")
            if not below:
                break
            below = below.rpartition("/")[0]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _value(path: Path, key: str) -> str:
    """The first value of `key` in lines `KEY : VALUE`; empty if there is none."""
    for line in _lines(path):
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
