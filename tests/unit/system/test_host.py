"""What the host lets a process use, by cgroups of both versions and affinity."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from migrator.system.host import Host, default_workers, file_system_type, memory_limit, usable_cpus

MIB = 1 << 20


def host(root: Path, cgroup: str = "", mounts: str = "", **files: str) -> Path:
    """A made-up host with 8 GiB of memory; `__` in a name of `files` stands for `/`."""
    texts = {
        "proc/self/cgroup": cgroup,
        "proc/self/mountinfo": f"1 1 8:1 / / rw - ext4 /dev/sda rw\n{mounts}",
        "proc/meminfo": "MemTotal:        8388608 kB\nMemFree: 1 kB\n",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: A CPU: fast\n",
    }
    for name, text in (texts | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


V2 = "2 1 0:20 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
V1 = (
    "3 1 0:21 {0} /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "4 1 0:22 {0} /cg/memory rw - cgroup cgroup rw,memory\n"
)


def test_without_cgroups(tmp_path: Path):
    host(tmp_path)
    assert usable_cpus(tmp_path) == 8
    assert memory_limit(tmp_path) == 8192 * MIB


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", 8),
        ("150000 100000", 2),
        ("200000 100000", 2),
        ("1000 100000", 1),
        ("0 100000", 1),
        ("9900000 100000", 8),
        ("", 8),
        ("100000 0", 8),
        ("odd", 8),
    ],
)
def test_quota_version_2(tmp_path: Path, quota: str, cpus: int):
    files = {"sys/fs/cgroup/a/b/cpu.max": quota}
    assert usable_cpus(host(tmp_path, "0::/a/b\n", V2, **files)) == cpus


def test_the_smallest_limit_up_the_hierarchy_counts(tmp_path: Path):
    files = {
        "sys/fs/cgroup/a/cpu.max": "300000 100000",
        "sys/fs/cgroup/a/b/cpu.max": "500000 100000",
        "sys/fs/cgroup/a/memory.max": f"{512 * MIB}\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/other/cpu.max": "100000 100000",
    }
    host(tmp_path, "0::/a/b\n", V2, **files)
    assert usable_cpus(tmp_path) == 3
    assert memory_limit(tmp_path) == 512 * MIB


@pytest.mark.parametrize(("mounted", "directory"), [("/", "/docker/x"), ("/docker/x", "")])
def test_version_1(tmp_path: Path, mounted: str, directory: str):
    """On the host, and in a container that sees its own group only."""
    files = {
        f"cg/cpu,cpuacct{directory}/cpu.cfs_quota_us": "250000\n",
        f"cg/cpu,cpuacct{directory}/cpu.cfs_period_us": "100000\n",
        f"cg/memory{directory}/memory.limit_in_bytes": f"{256 * MIB}\n",
    }
    cgroup = "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n0::/\n"
    host(tmp_path, cgroup, V1.format(mounted), **files)
    assert usable_cpus(tmp_path) == 3
    assert memory_limit(tmp_path) == 256 * MIB


def test_version_1_without_limits(tmp_path: Path):
    files = {
        "cg/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cg/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "cg/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    host(tmp_path, "5:memory:/\n4:cpu,cpuacct:/\n", V1.format("/"), **files)
    assert usable_cpus(tmp_path) == 8
    assert memory_limit(tmp_path) == 8192 * MIB


def test_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert usable_cpus(host(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/data", "xfs"), ("/data/over", "btrfs"), ("/database", "ext4")],
)
def test_file_system_type(tmp_path: Path, path: str, kind: str):
    mounts = (
        "2 1 8:2 / /data rw - xfs /dev/sdb rw\n"
        "3 1 8:3 / /data/over rw - zfs pool rw\n"
        "4 1 8:4 / /data/over rw - btrfs /dev/sdc rw\n"
    )
    assert file_system_type(Path(path), host(tmp_path, mounts=mounts)) == kind


def test_nothing_is_known(tmp_path: Path):
    assert usable_cpus(tmp_path) == 8
    assert memory_limit(tmp_path) == 0
    assert file_system_type(Path("/"), tmp_path) == "unknown"


def test_host_record(tmp_path: Path):
    found = Host.here(Path("/"), host(tmp_path))
    assert found == Host(
        cpu_model="A CPU: fast",
        cpus=8,
        total_memory=8192 * MIB,
        memory=8192 * MIB,
        kernel=os.uname().release,
        file_system="ext4",
        python=platform.python_version(),
    )
    assert found.as_json()["cpu_model"] == "A CPU: fast"


def test_this_host():
    found = Host.here(Path("/"))
    assert found.cpus >= 1
    assert 0 < found.memory <= found.total_memory
    assert found.file_system != "unknown"


@pytest.mark.parametrize(("memory", "workers"), [(64, 1), (200, 2), (512, 7), (4096, 8)])
def test_workers_fit_into_the_memory(tmp_path: Path, memory: int, workers: int):
    host(tmp_path, "0::/a\n", V2, **{"sys/fs/cgroup/a/memory.max": f"{memory * MIB}\n"})
    assert default_workers(tmp_path) == workers
