"""Finding a Docker daemon by what it has open, mounted or locked; and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.legacy.daemon import DaemonEvidence, find_daemon

ID = "ab" * 32
DISK = "8:1"


class Proc:
    """A made-up `/proc`, in which the data root is `/var/lib/docker` on the root disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mounts("self", ("/", "/"))

    def mounts(self, process: str, *mounts: tuple[str, ...]) -> None:
        """Mounts as (root, mount point[, device[, type, options]])."""
        lines = []
        for number, mount in enumerate(mounts):
            root, point, device, kind, options = (*mount, DISK, "ext4", "rw")[: len(mount)] + (
                DISK,
                "ext4",
                "rw",
            )[len(mount) - 2 :]
            lines.append(
                f"{number} 1 {device} {root} {point} rw shared:1 - {kind} source {options}"
            )
        (self.path / process).mkdir(parents=True, exist_ok=True)
        (self.path / process / "mountinfo").write_text("".join(f"{line}\n" for line in lines))

    def process(self, pid: int, name: str, *links: str, cwd: str = "/", parent: int = 1) -> Path:
        """A process with files open."""
        process = self.path / str(pid)
        (process / "fd").mkdir(parents=True)
        (process / "comm").write_text(f"{name}\n")
        (process / "cmdline").write_bytes(b"/usr/bin/" + name.encode() + b"\0-g\0/x\0")
        (process / "stat").write_text(f"{pid} (a) b) S {parent} 0 0")
        (process / "exe").symlink_to(f"/usr/bin/{name}")
        (process / "cwd").symlink_to(cwd)
        (process / "root").symlink_to("/")
        for number, link in enumerate(links):
            (process / "fd" / str(number)).symlink_to(link)
        return process


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def found(proc: Proc, root: str = "/var/lib/docker") -> str | None:
    evidence = find_daemon(Path(root), proc.path)
    return None if evidence is None else str(evidence)


@pytest.mark.parametrize("name", ["docker", "dockerd", "docker.io", "docker-containerd"])
def test_a_daemons_open_file(proc: Proc, name: str):
    proc.process(7, name, "pipe:[1]", "/var/lib/docker/linkgraph.db")
    assert found(proc) == f"the process {name} (PID 7) is using /var/lib/docker/linkgraph.db"


def test_a_daemon_known_by_its_program_only(proc: Proc):
    process = proc.process(7, "docker", "/var/lib/docker/linkgraph.db")
    (process / "comm").write_text("exe\n")
    (process / "cmdline").write_bytes(b"")
    assert found(proc)


def test_a_daemons_working_directory(proc: Proc):
    proc.process(7, "dockerd", cwd="/var/lib/docker")
    assert found(proc) == "the process dockerd (PID 7) is using /var/lib/docker"


def test_other_processes_do_not_count(proc: Proc):
    proc.process(7, "bash", cwd="/var/lib/docker")
    proc.process(8, "dockerd", "/var/lib/docker2/linkgraph.db", "/var/lib", "socket:[1]")
    (proc.path / "9").mkdir()
    assert found(proc) is None


def test_ourselves_and_our_ancestors_do_not_count(proc: Proc):
    proc.process(os.getpid(), "docker-migrate", cwd="/var/lib/docker", parent=70000)
    proc.process(70000, "docker-wrapper", cwd="/var/lib/docker", parent=70000)
    assert found(proc) is None


def test_a_process_that_sees_the_data_root_elsewhere(proc: Proc):
    """In a container with the host's processes: /data here is /var/lib/docker there."""
    proc.mounts("self", ("/", "/", "0:50"), ("/var/lib/docker", "/data"))
    proc.process(7, "dockerd", "/var/lib/docker/linkgraph.db")
    assert found(proc, "/data") is None
    proc.mounts("7", ("/", "/"))
    assert found(proc, "/data")


@pytest.mark.parametrize(
    "part",
    [
        f"overlay/{ID}/merged",
        f"overlay2/{ID}/merged",
        f"aufs/mnt/{ID}",
        f"aufs/mnt/{ID}-init",
        f"devicemapper/mnt/{ID}",
        f"btrfs/subvolumes/{ID}",
        f"vfs/dir/{ID}",
        f"zfs/graph/{ID}",
        f"containers/{ID}/shm",
        f"containers/{ID}/mqueue",
    ],
)
@pytest.mark.parametrize("process", ["self", "1"])
def test_something_mounted_in_the_data_root(proc: Proc, part: str, process: str):
    proc.mounts(process, ("/", "/"), ("/", f"/var/lib/docker/{part}", "0:50", "overlay", "rw"))
    assert found(proc) == f"{part} is mounted at /var/lib/docker/{part}"


@pytest.mark.parametrize(
    "mount",
    [
        ("/", "/var/lib/docker", "8:2"),
        ("/", "/var/lib/docker/overlay", "8:2"),
        ("/", "/var/lib/docker/aufs", "8:2"),
        ("/", "/var/lib/docker/volumes", "8:2"),
        ("/", "/var/lib/docker/graph", "8:2"),
        ("/", "/var/lib/docker/containers", "8:2"),
        ("/srv/docker", "/var/lib/docker"),
        ("/srv/overlay", "/var/lib/docker/overlay"),
        ("/var/lib/docker", "/data"),
        ("/var/lib/docker/volumes/v/_data", "/data"),
        ("/", f"/var/lib/docker2/overlay/{ID}/merged", "0:50", "overlay", "rw"),
        (f"/var/lib/docker/containers/{ID}/hosts", "/etc/hosts", "8:2"),
        ("/", "/mnt", "0:50", "overlay", "rw,lowerdir=/a:/b,upperdir=/var/lib/docker2/x"),
    ],
)
@pytest.mark.parametrize("process", ["self", "1"])
def test_mounts_without_meaning(proc: Proc, mount: tuple[str, ...], process: str):
    proc.mounts(process, ("/", "/"), mount)
    assert found(proc) is None


@pytest.mark.parametrize(
    ("part", "point"),
    [
        (f"containers/{ID}/hostname", "/etc/hostname"),
        (f"containers/{ID}/resolv.conf", "/etc/resolv.conf"),
        (f"vfs/dir/{ID}", "/"),
        (f"overlay/{ID}/root", "/mnt"),
    ],
)
@pytest.mark.parametrize("moved", ["", "/overlay", "/vfs", "/containers"])
def test_inside_a_container(proc: Proc, part: str, point: str, moved: str):
    """The data root is mounted as /data, one of its directories comes from another disk."""
    device, base = (DISK, "/var/lib/docker")
    mounts = [("/", "/", "0:50"), (base, "/data")]
    if moved:
        mounts.append(("/disk", f"/data{moved}", "8:2"))
    driver, _, rest = part.partition("/")
    root = f"/disk/{rest}" if moved == f"/{driver}" else f"{base}/{part}"
    device = "8:2" if moved == f"/{driver}" else DISK
    proc.mounts("self", *mounts, (root, point, device))
    assert found(proc, "/data") == f"{part} is mounted at {point}"


@pytest.mark.parametrize(
    "options",
    [
        "rw,lowerdir=/a:/var/lib/docker/overlay/x/root,upperdir=/c",
        "rw,upperdir=/var/lib/docker/overlay/x/upper,lowerdir=/a",
        r"rw,lowerdir=/a\134:b:/var/lib/docker/overlay2/l/X",
        "rw,lowerdir+=/var/lib/docker/overlay2/l/X",
    ],
)
def test_overlay_of_layers(proc: Proc, options: str):
    proc.mounts("self", ("/", "/"), ("/", "/mnt", "0:50", "overlay", options))
    sentence = found(proc)
    assert sentence
    assert sentence.startswith("an overlay of /var/lib/docker/overlay")


def test_escapes_in_mountinfo(proc: Proc):
    point = rf"/my\040docker\134x/containers/{ID}/shm"
    proc.mounts("self", ("/", "/"), ("/", point, "0:50", "tmpfs", "rw"))
    assert found(proc, "/my docker\\x") == rf"containers/{ID}/shm is mounted at /my docker\x" + (
        f"/containers/{ID}/shm"
    )


def test_without_proc(tmp_path: Path):
    assert find_daemon(tmp_path, tmp_path / "proc") is None


LOCK = """
import fcntl, sys
database = open(sys.argv[1])
fcntl.flock(database, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "name",
    [
        "network/files/local-kv.db",
        "volumes/metadata.db",
        "containerd/daemon/io.containerd.metadata.v1.bolt/meta.db",
        "buildkit/cache.db",
    ],
)
def test_a_locked_database(tmp_path: Path, name: str):
    database = tmp_path / name
    database.parent.mkdir(parents=True)
    database.write_bytes(b"")
    assert find_daemon(tmp_path) is None
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        evidence = find_daemon(tmp_path)
        holder.communicate()
    assert evidence == DaemonEvidence(f"the database {database} is locked by another process")
    assert find_daemon(tmp_path) is None


def test_a_fifo_for_a_database(tmp_path: Path):
    (tmp_path / "volumes").mkdir()
    os.mkfifo(tmp_path / "volumes/metadata.db")
    assert find_daemon(tmp_path) is None


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.root
def test_a_real_bind_mount(tmp_path: Path, moved: bool):
    """A container's file is mounted elsewhere, the data root perhaps a bind mount itself."""
    root, point = tmp_path / "my root", tmp_path / "point"
    file = root / "containers" / ID / "hostname"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    point.write_bytes(b"")
    seen = tmp_path / "seen" if moved else root
    seen.mkdir(exist_ok=True)
    if moved:
        subprocess.run(["mount", "--bind", root, seen], check=True)
    try:
        assert find_daemon(seen) is None
        subprocess.run(["mount", "--bind", file, point], check=True)
        try:
            expected = f"containers/{ID}/hostname is mounted at {point}"
            assert find_daemon(seen) == DaemonEvidence(expected)
        finally:
            subprocess.run(["umount", point], check=True)
        assert find_daemon(seen) is None
    finally:
        if moved:
            subprocess.run(["umount", seen], check=True)


def test_a_real_process(tmp_path: Path):
    """A program called `docker` with a file open below the data root."""
    program = tmp_path / "docker"
    program.symlink_to("/bin/cat")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linkgraph.db").write_bytes(b"")
    with (
        open(root / "linkgraph.db") as database,
        subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=database
        ) as daemon,
    ):
        # It answers once it runs as `docker`.
        assert daemon.stdin
        assert daemon.stdout
        daemon.stdin.write(b"\n")
        daemon.stdin.flush()
        daemon.stdout.readline()
        evidence = find_daemon(root)
        daemon.communicate()
    expected = f"the process docker (PID {daemon.pid}) is using {root}/linkgraph.db"
    assert evidence == DaemonEvidence(expected)
    assert find_daemon(root) is None
