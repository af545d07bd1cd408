"""A pool of zfs-fuse's, and stores laid out in it as Docker's zfs driver does.

The daemon lives in a mount namespace of its own, with its socket, its lock and
its cache: it meets no other, and what it has mounted goes when it goes.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_DAEMON = """
mount --make-rprivate /
mount -t tmpfs none /run && mkdir -p /run/zfs /run/lock/zfs || exit
mount -t tmpfs none /var/lib/zfs || exit
exec zfs-fuse --no-daemon --no-kstat-mount
"""

_LAYER_ROOTS = {
    "btrfs": "btrfs/subvolumes/{}",
    "overlay": "overlay/{}/root",
    "vfs": "vfs/dir/{}",
}


class Pool:
    """The pool `tank` on a sparse file in `directory`, as long as the `with` lasts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "log"

    def __enter__(self) -> Pool:
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", _DAEMON]
        with self._log.open("wb") as log:
            self._daemon = subprocess.Popen(command, stdout=log, stderr=log)
        socket = Path(f"/proc/{self._daemon.pid}/root/run/zfs/zfs_socket")
        deadline = time.monotonic() + 30
        while not socket.exists():
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"zfs-fuse does not run:\n{self._log.read_text()}")
            time.sleep(0.02)
        image = self.directory / "pool"
        with image.open("wb") as file:
            file.truncate(1 << 30)
        self.run("zpool", "create", "-f", "-m", "none", "tank", str(image))
        return self

    def __exit__(self, *exc: object) -> None:
        # Asked to end, it takes ten seconds.
        self._daemon.kill()
        self._daemon.wait()

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What a command starts with that is to see the pool."""
        namespace = f"/proc/{self._daemon.pid}/ns/mnt"
        return "nsenter", f"--mount={namespace}", "env", f"PYTHONPATH={REPOSITORY}"

    def run(self, *command: str | Path) -> str:
        """Run a command that sees the pool; returns what it prints."""
        run = subprocess.run([*self.wrapper, *command], capture_output=True, text=True)
        assert run.returncode == 0, (command, run.stderr)
        return run.stdout

    def mounts(self) -> list[str]:
        """What is mounted of the pool, and where."""
        lines = Path(f"/proc/{self._daemon.pid}/mountinfo").read_text().splitlines()
        return [line.split()[4] for line in lines if "fuse.zfs" in line]

    def properties(self, dataset: str) -> str:
        """How a dataset and those below it are set, where from, and what is mounted."""
        columns = ("-o", "name,property,value,source")
        wanted = "mountpoint,readonly,canmount,mounted"
        return "".join(
            self.run("zfs", "get", "-rH", *columns, *of, dataset)
            for of in ((wanted,), ("-s", "local", "all"))
        )

    def lay_out(self, root: Path, driver: str, parent: str, target: Path) -> None:
        """Put the layers of a store below the dataset `parent`, and all else in `target`.

        As Docker 1.9 daemon/graphdriver/zfs does: a layer on another is a clone
        of a snapshot of that one's dataset, destroyed as soon as its clones are.
        """
        self.metadata(root, driver, target)
        filled = self.directory / "filled"
        commands = [f"zfs create -p -o mountpoint=none {parent}"]
        for layer, below in _lineage(root).items():
            dataset = f"{parent}/{layer}"
            if below is None:
                commands.append(f"zfs create -o mountpoint=legacy {dataset}")
            else:
                snapshot = f"{parent}/{below}@{layer}"
                commands += [
                    f"zfs snapshot {snapshot}",
                    f"zfs clone -o mountpoint=legacy {snapshot} {dataset}",
                    f"zfs destroy -d {snapshot}",
                ]
            # A container's is not read.
            if (root / "graph" / layer).is_dir():
                tree = root / _LAYER_ROOTS[driver].format(layer)
                commands += [
                    f"zfs set mountpoint={filled} {dataset}",
                    f"find {filled} -mindepth 1 -delete",
                    f"cp -a {tree}/. {filled}",
                    f"zfs set mountpoint=legacy {dataset}",
                ]
        self.run("sh", "-e", "-c", "\n".join(commands))

    @staticmethod
    def metadata(root: Path, driver: str, target: Path) -> None:
        """Copy a store without its layers to `target`, as one of zfs."""
        (target / "zfs").mkdir(parents=True)
        for path in root.iterdir():
            if path.name != driver:
                subprocess.run(["cp", "-a", path, target], check=True)
        (target / f"repositories-{driver}").rename(target / "repositories-zfs")
        for config in target.glob("containers/*/config.json"):
            config.write_text(config.read_text().replace(f'"{driver}"', '"zfs"'))


def _lineage(root: Path) -> Mapping[str, str | None]:
    """The layers of a legacy store, each after the one that it lies on."""
    parents: dict[str, str | None] = {}
    for config in root.glob("graph/*/json"):
        parents[config.parent.name] = json.loads(config.read_bytes()).get("parent") or None
    for config in root.glob("containers/*/config.json"):
        id = config.parent.name
        image = json.loads(config.read_bytes())["Image"]
        if image in parents:
            parents |= {f"{id}-init": image, id: f"{id}-init"}
    ordered: dict[str, str | None] = {}

    def add(layer: str) -> None:
        below = parents[layer]
        if below is not None and below not in ordered:
            add(below)
        ordered[layer] = below

    for layer in parents:
        add(layer)
    return ordered
