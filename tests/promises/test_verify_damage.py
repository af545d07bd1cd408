"""`verify` on damaged roots, and on roots that Docker has rightly changed since."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import ExitCode
from migrator.system.statx import creation_time_ns
from tests.stores.verify_roots import GoldenRoot, build

WITH_LINKS = "dba87e975344a47a43e715a7f661774614313195eef1942eaba2701d131bff36"
CONTAINER = "3a8c7f733785fe21f760d9c4afda7b17edfe20a993a1c005f33a53995ba8e63b"


@pytest.fixture
def root(store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]) -> GoldenRoot:
    return build(store_copy("docker-1.9.1-overlay"), golden("docker-1.9.1-overlay"))


@pytest.fixture
def odd(store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]) -> GoldenRoot:
    return build(store_copy("docker-1.9.1-overlay-odd"), golden("docker-1.9.1-overlay-odd"))


def rewrite(path: Path, change: Callable[[Any], Any], *, in_place: bool = False) -> None:
    """A JSON file written again as Docker does, by rename unless `in_place`."""
    value = change(json.loads(path.read_bytes()))
    target = path if in_place else path.with_name(".tmp-new")
    target.write_text(json.dumps(value))
    if not in_place:
        target.replace(path)


def edit(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda value: value | changes


def top_layer(root: GoldenRoot) -> str:
    """A layer that no other layer and no container needs."""
    needed = {layer["parent"] for layer in root.golden["layers"].values()}
    needed |= {mount["parent"] for mount in root.golden["mounts"].values()}
    return next(c for c in root.golden["layers"] if f"sha256:{c}" not in needed)


def image_of(root: GoldenRoot, name: str, key: str) -> str:
    image_id: str = root.golden["repositories"]["Repositories"][name][key]
    return image_id.removeprefix("sha256:")


@pytest.mark.parametrize("file", ["cache-id", "diff", "parent", "size", "tar-split.json.gz"])
def test_a_layer_that_misses_a_file(root: GoldenRoot, file: str) -> None:
    chain = next(c for c, layer in root.golden["layers"].items() if layer["parent"])
    (root.layer(chain) / file).unlink()
    for _ in ("with a manifest", "without"):
        found = [f for f in root.verify(quick=True).findings if f.name == f"sha256:{chain}"]
        assert found
        assert all("missing" in f.reason or "chainID" in f.reason for f in found)
        if (root.path / ".migrator" / "phase").exists():
            root.forget_manifest()


def test_a_layer_with_a_file_too_much(root: GoldenRoot) -> None:
    path = root.layer(top_layer(root)) / "extra"
    path.touch()
    assert root.paths(quick=True) == {str(path.relative_to(root.path))}


@pytest.mark.parametrize("name", ["0" * 63, "0" * 64 + "-init", "A" * 64])
def test_a_layer_whose_name_is_no_chain_id(root: GoldenRoot, name: str) -> None:
    root.layer(name).mkdir()
    assert root.paths(quick=True) == {f"image/overlay/layerdb/sha256/{name}"}


def test_a_layer_that_docker_was_removing(root: GoldenRoot) -> None:
    root.layer("0" * 64 + "-x1Y2-removing").mkdir()
    assert root.verify(quick=True).findings == ()


def test_two_layers_of_one_directory(root: GoldenRoot) -> None:
    one, two = list(root.golden["layers"])[:2]
    shutil.copy(root.layer(one) / "cache-id", root.layer(two) / "cache-id")
    root.forget_manifest()
    (finding,) = root.verify(quick=True).findings
    assert finding.path.endswith("/cache-id")
    assert f"sha256:{one}" in finding.reason


@pytest.mark.parametrize("size", ["", "-1", "1\n", "01", "1e3", "9" * 20, "7"])
def test_a_layer_of_another_size(root: GoldenRoot, size: str) -> None:
    chain = top_layer(root)
    (root.layer(chain) / "size").write_text(size)
    root.forget_manifest()
    assert root.paths() == {f"image/overlay/layerdb/sha256/{chain}/size"}


def test_a_size_counted_by_docker_itself(
    store_copy: Callable[[str], Path], golden: Callable[[str], dict[str, Any]]
) -> None:
    root = build(store_copy("docker-1.9.1-aufs"), golden("docker-1.9.1-aufs"))
    root.forget_manifest()
    for chain, layer in root.golden["layers"].items():
        inodes = {}
        for directory, _, names in os.walk(root.path / "aufs" / "diff" / layer["cache-id"]):
            found = [*names, *(d for d in os.listdir(directory) if Path(directory, d).is_symlink())]
            for status in (Path(directory, name).lstat() for name in found):
                inodes[status.st_ino] = status.st_size
        (root.layer(chain) / "size").write_text(str(sum(inodes.values())))
    assert root.verify().findings == ()


def test_a_layer_without_directory_or_parent(root: GoldenRoot) -> None:
    chain = top_layer(root)
    layer = root.golden["layers"][chain]
    shutil.rmtree(root.path / "overlay" / layer["cache-id"])
    parent = layer["parent"].removeprefix("sha256:")
    shutil.rmtree(root.layer(parent))
    paths = root.paths(quick=True)
    base = "image/overlay/layerdb/sha256"
    assert {f"{base}/{chain}/cache-id", f"{base}/{chain}/parent", f"{base}/{parent}"} <= paths


@pytest.mark.parametrize(
    "path",
    [
        "repositories.json",
        "imagedb/content/sha256/{image}",
        "imagedb/metadata/sha256/{image}/parent",
        "layerdb/mounts/{container}/mount-id",
        "layerdb/mounts/{container}/parent",
    ],
)
def test_a_missing_file(root: GoldenRoot, path: str) -> None:
    image = image_of(root, "acme/app", "acme/app:1.0")
    path = "image/overlay/" + path.format(image=image, container=CONTAINER)
    (root.path / path).unlink()
    assert path in root.paths(quick=True)


@pytest.mark.parametrize("path", [".migration-v1-images.json", ".migration-v1-tags"])
def test_a_missing_marker(root: GoldenRoot, path: str) -> None:
    (root.path / path).unlink()
    (root.path / "tmp").mkdir()
    assert root.paths(quick=True) == {path}


def test_containers_and_their_mounts(root: GoldenRoot) -> None:
    mount = root.image / "layerdb" / "mounts" / CONTAINER
    kept = mount.rename(root.path / ".migrator" / "kept")
    assert f"containers/{CONTAINER}/config.v2.json" in root.paths(quick=True)
    kept.rename(mount)
    shutil.rmtree(root.path / "overlay" / f"{CONTAINER}-init")
    assert root.paths(quick=True) == {f"image/overlay/layerdb/mounts/{CONTAINER}/init-id"}
    root.forget_manifest()
    (mount / "parent").write_text("sha256:" + top_layer(root))
    assert f"containers/{CONTAINER}/config.v2.json" in root.paths(quick=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("six@sha256:" + "f" * 64, None),
        ("six@sha256:" + "f" * 63, "no tag or digest"),
        ("six:", "no tag or digest"),
        ("six:a/b", "no tag or digest"),
        ("sixe:latest", "no tag or digest"),
        ("seven:latest", "no reference below"),
    ],
)
def test_keys_of_references(odd: GoldenRoot, key: str, value: str | None) -> None:
    image = "sha256:" + next(iter(odd.golden["images"]))
    odd.forget_manifest()
    path = odd.image / "repositories.json"
    path.write_text(json.dumps({"Repositories": {"six": {key: image}}}))
    reasons = [finding.reason for finding in odd.verify(quick=True).findings]
    assert reasons == [] if value is None else value in " ".join(reasons)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"Repositories": None},
        {"Repositories": {}, "Other": 1},
        {"Repositories": {"UPPER": {}}},
        {"Repositories": {"a//b": {}}},
        {"Repositories": {"f" * 64: {}}},
        {"Repositories": {"a": []}},
        {"Repositories": {"a": {"a:1": "sha256:" + "0" * 64}}},
        {"Repositories": {"a": {"a:1": None}}},
    ],
)
def test_malformed_references(root: GoldenRoot, document: Any) -> None:
    root.forget_manifest()
    (root.image / "repositories.json").write_text(json.dumps(document))
    assert root.paths(quick=True) == {"image/overlay/repositories.json"}


def test_distribution_records_name_each_other(odd: GoldenRoot) -> None:
    odd.forget_manifest()
    base = odd.image / "distribution"
    (base / "diffid-by-digest" / "sha256" / ("a" * 64)).unlink()
    lists = {p for p in odd.files if "v2metadata" in p and b"sha256:aaaa" in odd.files[p]}
    assert odd.paths(quick=True) == lists
    (path,) = (p for p in odd.files if "v2metadata" in p and b"sha256:cccc" in odd.files[p])
    (odd.path / path).unlink()
    assert f"image/overlay/distribution/diffid-by-digest/sha256/{'c' * 64}" in odd.paths(quick=True)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [1],
        [{"Digest": "sha256:" + "a" * 64}],
        [{"Digest": "tarsum+sha256:x", "SourceRepository": ""}],
        [{"Digest": "sha256:" + "a" * 64, "SourceRepository": "", "Other": ""}],
        [{"Digest": "sha256:" + "a" * 64, "SourceRepository": "", "HMAC": "zz"}],
        [{"Digest": "sha256:" + "a" * 64, "SourceRepository": ""}] * 51,
    ],
)
def test_malformed_lists_of_digests(odd: GoldenRoot, document: Any) -> None:
    odd.forget_manifest()
    path = next(p for p in odd.files if "v2metadata" in p and b"sha256:aaaa" in odd.files[p])
    (odd.path / path).write_text(json.dumps(document))
    assert path in odd.paths(quick=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"ID": "0" * 64},
        {"Created": "2016-01-01T00:00:00Z"},
        {"Path": "/bin/other"},
        {"Args": ["-c"]},
        {"Driver": "vfs"},
        {"Image": "sha256:" + "0" * 64},
        {"Image": "x"},
        {"Image": None},
        {"Config": None},
        {"Config.User": ""},
        {"Config.Env": []},
        {"Config.Cmd": ["-c", "echo <hi> & by"]},
        {"Config.Image": "acme/app:1.1"},
        {"Config.Entrypoint": None},
        {"Config.Labels": {"com.example.a": "x & <y>", "com.example.b": "3"}},
        {"Config.ExposedPorts": {"443/tcp": {}, "53/udp": {}, "81/tcp": {}}},
    ],
    ids=str,
)
def test_facts_of_a_container_that_never_change(root: GoldenRoot, changes: dict[str, Any]) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            (config[section] if section else config)[name] = value
        return config

    path = f"containers/{CONTAINER}/config.v2.json"
    rewrite(root.path / path, change, in_place=True)
    assert root.paths(quick=True) == {path}


@pytest.mark.parametrize("in_place", [True, False])
def test_what_docker_changes_in_a_container_is_no_fault(root: GoldenRoot, in_place: bool) -> None:
    def start(config: dict[str, Any]) -> dict[str, Any]:
        config["Config"] |= {"Hostname": "other", "MacAddress": None, "Shell": ["/bin/sh"]}
        new = {"State": {"Running": True, "Pid": 5}, "Name": "/renamed", "SecretReferences": None}
        config |= {"LogPath": "/x.log", "RestartCount": 3, "Args": config["Args"], **new}
        return dict(sorted(config.items(), reverse=True))

    directory = root.path / "containers" / WITH_LINKS
    rewrite(directory / "config.v2.json", start, in_place=in_place)
    update = edit(Memory=1 << 30, RestartPolicy={"Name": "always"}, NetworkMode="bridge", Binds=[])
    rewrite(directory / "hostconfig.json", update, in_place=in_place)
    report = root.verify(quick=True)
    assert report.findings == ()
    assert "rewritten by Docker" in str(report.used)


@pytest.mark.parametrize(
    "changes",
    [{"Links": []}, {"Links": ["/created:db"]}, {"Binds": ["/:/host"]}, {"Privileged": True}],
    ids=str,
)
def test_facts_of_a_host_config(root: GoldenRoot, changes: dict[str, Any]) -> None:
    path = f"containers/{WITH_LINKS}/hostconfig.json"
    rewrite(root.path / path, edit(**changes))
    assert root.paths(quick=True) == {path}


def use(root: GoldenRoot) -> None:
    """What a daemon leaves behind that removes an image and a container, and pulls a tag."""
    (root.path / "tmp").mkdir()
    images = root.path / ".migration-v1-images.json"
    images.write_bytes(images.read_bytes() + b"\n")
    for directory in (f"containers/{CONTAINER}", f"image/overlay/layerdb/mounts/{CONTAINER}"):
        shutil.rmtree(root.path / directory)
    image = image_of(root, "twin/a", "twin/a:latest")
    (root.image / "imagedb" / "content" / "sha256" / image).unlink()
    shutil.rmtree(root.image / "imagedb" / "metadata" / "sha256" / image)

    def untag(value: Any) -> Any:
        del value["Repositories"]["twin/a"]
        value["Repositories"]["twin/b"]["twin/b:new"] = "sha256:" + image_of(
            root, "twin/b", "twin/b:latest"
        )
        return value

    # The second file may get the inode that the published one had.
    rewrite(root.image / "repositories.json", untag)
    rewrite(root.image / "repositories.json", lambda value: value)


def test_docker_has_used_the_root(root: GoldenRoot) -> None:
    use(root)
    report = root.verify()
    assert report.findings == ()
    assert report.used == "tmp is new in the data root"


def test_the_same_without_a_sign_of_docker(root: GoldenRoot) -> None:
    use(root)
    (root.path / "tmp").rmdir()
    image = image_of(root, "twin/a", "twin/a:latest")
    assert root.paths(quick=True) >= {
        f"containers/{CONTAINER}",
        f"image/overlay/layerdb/mounts/{CONTAINER}",
        f"image/overlay/imagedb/content/sha256/{image}",
        "image/overlay/repositories.json",
    }


def test_damage_in_place_is_no_use_by_docker(root: GoldenRoot) -> None:
    (root.path / "tmp").mkdir()
    path = "image/overlay/repositories.json"
    with open(root.path / path, "r+b") as file:
        file.write((root.path / path).read_bytes().replace(b"acme/app:1.0", b"acme/app:1.1"))
    (finding,) = root.verify(quick=True).findings
    assert (finding.path, "in place" in finding.reason) == (path, True)
    created = creation_time_ns(root.path / path)
    assert created is None or created <= (root.path / path).stat().st_mtime_ns


def test_bits_that_rot(root: GoldenRoot) -> None:
    path = f"containers/{CONTAINER}/config.v2.json"
    before = (root.path / path).stat()
    with open(root.path / path, "r+b") as file:
        file.write((root.path / path).read_bytes().replace(b"/withvol", b"/vithvol"))
    assert root.paths(quick=True) == set()
    os.utime(root.path / path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert root.paths(quick=True) == {path}


def test_a_copied_root(root: GoldenRoot) -> None:
    copy = root.path.with_name("copy")
    subprocess.run(["cp", "-a", root.path, copy], check=True)
    root.path = copy
    assert root.verify().findings == ()
    path = "image/overlay/repositories.json"
    (copy / path).write_bytes((copy / path).read_bytes().replace(b"app:1.0", b"app:1.1"))
    assert root.paths(quick=True) == {path}


def test_the_state_of_the_migration_itself(root: GoldenRoot) -> None:
    manifest = root.path / ".migrator" / "manifest.json"
    data = manifest.read_bytes()
    manifest.write_bytes(data.replace(b"sha256", b"sha265", 1))
    assert root.paths(quick=True) == {".migrator/manifest.json"}
    manifest.write_bytes(data)
    for text in ("publishing", "undoing", "nonsense"):
        (root.path / ".migrator" / "phase").write_text(text)
        assert root.paths(quick=True) == {".migrator/phase"}
    assert root.verify(quick=True).exit_code is ExitCode.FAILED
    (root.path / ".migrator" / "phase").unlink()
    assert root.paths(quick=True) == {".migrator/phase"}


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"{}")])
def test_an_original_that_rollback_needs(root: GoldenRoot, change: Callable[[Path], Any]) -> None:
    path = f".migrator/saved/containers/{WITH_LINKS}/hostconfig.json"
    change(root.path / path)
    assert root.paths(quick=True) == {path}
