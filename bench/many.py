"""A legacy store of very many small things: images, containers, links and names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.building import Record

_TIME = 1_450_000_000
# Layers of an image, images that share a name, and the containers of which one has a link.
_DEPTH = 10
_TAGS = 5
_LINKED = 4


@dataclass(frozen=True, slots=True)
class Size:
    """How many images and containers a store has."""

    images: int
    containers: int

    def times(self, factor: int) -> Size:
        """So many times of each."""
        return Size(self.images * factor, self.containers * factor)


def build(size: Size, root: Path) -> None:
    """Build a data root of aufs at `root`, which must not exist, the same bytes every time.

    Images lie in lines of ten, each has a layer of one file and one has a name in every two.
    Containers are spread over them evenly; every fourth links to the one before.
    A build that was interrupted leaves no `root` behind.
    """
    aside = root.with_name(root.name + ".building")
    shutil.rmtree(aside, ignore_errors=True)
    for name in ("graph", "containers", "aufs/diff", "aufs/layers", "aufs/mnt"):
        (aside / name).mkdir(parents=True)
    images = [_hex("image", number) for number in range(size.images)]
    for number, v1_id in enumerate(images):
        _image(str(aside), v1_id, _line(images, number))
    containers = [_hex("container", number) for number in range(size.containers)]
    for number, container in enumerate(containers):
        _container(str(aside), number, container, _line(images, number % len(images)))
    _write(f"{aside}/repositories-aufs", json.dumps({"Repositories": _tags(images)}).encode())
    write_links(aside / "linkgraph.db", containers)
    aside.rename(root)


def _hex(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _line(images: list[str], number: int) -> list[str]:
    """An image with its ancestors, nearest first."""
    return images[number - number % _DEPTH : number + 1][::-1]


def _image(root: str, v1_id: str, line: list[str]) -> None:
    graph = f"{root}/graph/{v1_id}"
    os.mkdir(graph)  # noqa: PTH102 (a Path each would take as long as the rest)
    config = {
        "id": v1_id,
        "created": "2016-01-20T10:00:00.123456789Z",
        "container_config": {"Cmd": ["/bin/sh", "-c", f"#(nop) LAYER {len(line)}"]},
        "docker_version": "1.9.1",
        "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/bin/sh"]},
        "architecture": "amd64",
        "os": "linux",
    } | ({"parent": line[1]} if len(line) > 1 else {})
    _write(f"{graph}/json", json.dumps(config).encode())
    _layer(root, v1_id, line[1:])
    content = v1_id.encode()
    path = f"{root}/aufs/diff/{v1_id}/{v1_id[:8]}"
    _write(path, content)
    os.utime(path, (_TIME, _TIME))
    info = tarfile.TarInfo(v1_id[:8])
    info.size, info.mtime, info.mode = len(content), _TIME, 0o644
    record = Record(Path(graph, "tar-data.json.gz"))
    record.add(info, content)
    record.finish()
    _write(f"{graph}/layersize", b"%d" % len(content))


def _container(root: str, number: int, container: str, line: list[str]) -> None:
    directory = f"{root}/containers/{container}"
    os.mkdir(directory)  # noqa: PTH102
    values = {**_CONFIG, "ID": container, "Name": f"/name-{number}", "Image": line[0]}
    _write(f"{directory}/config.json", json.dumps(values).encode())
    _write(f"{directory}/hostconfig.json", _HOST_CONFIG)
    _layer(root, f"{container}-init", line)
    _layer(root, container, [f"{container}-init", *line])
    _write(f"{root}/aufs/diff/{container}/written", container.encode())


def _layer(root: str, layer: str, below: list[str]) -> None:
    for name in ("diff", "mnt"):
        os.mkdir(f"{root}/aufs/{name}/{layer}")  # noqa: PTH102
    _write(f"{root}/aufs/layers/{layer}", "".join(f"{each}\n" for each in below).encode())


def _tags(images: list[str]) -> dict[str, dict[str, str]]:
    tags: dict[str, dict[str, str]] = {}
    for number, v1_id in enumerate(images[1::2]):
        tags.setdefault(f"acme/app-{number // _TAGS}", {})[f"v{number % _TAGS}"] = v1_id
    return tags


def write_links(path: Path, containers: list[str]) -> None:
    """As graphdb of Docker 1.9 lays it out: names are edges from the entity 0.

    Every fourth of `containers` (their IDs) links to the one before.
    """
    edges = [(container, "0", f"name-{number}") for number, container in enumerate(containers)]
    edges += [
        (containers[number - 1], containers[number], "before")
        for number in range(_LINKED - 1, len(containers), _LINKED)
    ]
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE entity (id text NOT NULL PRIMARY KEY)")
        database.execute(
            "CREATE TABLE edge (entity_id text NOT NULL, parent_id text, name text NOT NULL)"
        )
        entities = [("0",), *((container,) for container in containers)]
        database.executemany("INSERT INTO entity VALUES (?)", entities)
        database.executemany("INSERT INTO edge VALUES (?, ?, ?)", edges)
        database.execute("CREATE UNIQUE INDEX name_parent_ix ON edge (parent_id, name)")
        database.commit()


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


# A stopped container of Docker 1.9, of the usual size.
_CONFIG: dict[str, Any] = {
    "State": {
        "Running": False,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 0,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2016-01-20T10:00:00.123456789Z",
        "FinishedAt": "2016-01-20T11:00:00.123456789Z",
    },
    "Created": "2016-01-20T10:00:00.123456789Z",
    "Path": "/bin/sh",
    "Args": ["-c", "exec server --port 80"],
    "Config": {
        "Hostname": "server",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {"443/tcp": {}, "80/tcp": {}},
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "MODE=production"],
        "Cmd": ["-c", "exec server --port 80"],
        "Image": "acme/app",
        "Volumes": None,
        "WorkingDir": "/srv",
        "Entrypoint": ["/bin/sh"],
        "OnBuild": None,
        "Labels": {"com.example.role": "web", "com.example.team": "one"},
        "StopSignal": "SIGTERM",
    },
    "NetworkSettings": {
        "Bridge": "",
        "SandboxID": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Networks": {
            "bridge": {"EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0}
        },
        "Ports": None,
        "SandboxKey": "",
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "IsAnonymousEndpoint": False,
    },
    "LogPath": "",
    "Driver": "aufs",
    "ExecDriver": "native-0.2",
    "MountLabel": "",
    "ProcessLabel": "",
    "RestartCount": 0,
    "HasBeenStartedBefore": True,
    "HasBeenManuallyStopped": False,
    "AppArmorProfile": "",
    "HostnamePath": "/var/lib/docker/containers/hostname",
    "HostsPath": "/var/lib/docker/containers/hosts",
    "ShmPath": "/var/lib/docker/containers/shm",
    "MqueuePath": "/var/lib/docker/containers/mqueue",
    "MountPoints": {},
    "ResolvConfPath": "/var/lib/docker/containers/resolv.conf",
    "Volumes": {},
    "VolumesRW": {},
}
_HOST_CONFIG = json.dumps(
    {
        "Binds": None,
        "ContainerIDFile": "",
        "LxcConf": [],
        "Memory": 0,
        "MemorySwap": 0,
        "CpuShares": 0,
        "CpusetCpus": "",
        "Privileged": False,
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "Links": None,
        "PublishAllPorts": False,
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": None,
        "VolumesFrom": None,
        "Devices": [],
        "NetworkMode": "default",
        "IpcMode": "",
        "PidMode": "",
        "CapAdd": None,
        "CapDrop": None,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "SecurityOpt": None,
        "ReadonlyRootfs": False,
        "Ulimits": None,
        "LogConfig": {"Type": "json-file", "Config": {}},
        "ConsoleSize": [0, 0],
    }
).encode()
