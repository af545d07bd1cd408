"""A migrated store in use: containers start, images come and go, daemons are restarted."""

from __future__ import annotations

from tests.docker.conftest import Served


def test_daemon_finds_everything_at_every_start(private: Served) -> None:
    private.store.migrate()
    for _ in range(2):
        with private.daemon:
            _check_all_is_there(private)
    with private.daemon as daemon:
        daemon.docker("start", "--attach", "created")
        daemon.docker("commit", "created", "mine:1")
        daemon.docker("run", "--network", "none", "--name", "new", "mine:1")
    with private.daemon as daemon:
        _check_all_is_there(private, new_images=1, new_containers=1)
        assert daemon.docker("start", "--attach", "new") == "<hi> & bye"

    assert private.errors() == []


def test_stopped_container_starts_with_what_it_had_written(private: Served) -> None:
    (container,) = (
        container
        for container, config in private.store.containers().items()
        if config["Name"] == "/committer"
    )
    note = private.store.writable(container) / "opt" / "note"
    note.write_text("written long ago")
    private.store.migrate()

    with private.daemon as daemon:
        assert sorted(daemon.docker("diff", "committer").splitlines()) == [
            *("A /committed", "A /opt/note", "C /opt", "D /opt/gone"),
        ]
        daemon.docker("start", "--attach", "committer")
        daemon.docker("commit", "committer", "kept:1")
        shell = ["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", "kept:1", "-c"]
        assert daemon.docker(*shell, "cat /opt/note") == "written long ago"
        assert daemon.docker(*shell, "cat /committed") == "yes"
        gone = daemon.run(*shell, "cat /opt/gone", check=False)
        assert (gone.returncode, gone.stdout + gone.stderr) == (1, "no file\n")

    assert private.errors() == []


def test_images_can_be_removed(private: Served) -> None:
    """One of two images with the same layers leaves the other whole; then all can go."""
    store = private.store
    store.migrate()
    with private.daemon as daemon:
        (a,) = daemon.inspect("image", "twin/a")
        (b,) = daemon.inspect("image", "twin/b")
        assert a["Id"] != b["Id"]
        # Not so in the store whose trees were changed at random.
        assert (a["RootFS"] == b["RootFS"]) == (store.driver != "vfs")
        daemon.docker("rmi", "twin/a")
        assert daemon.run("image", "inspect", a["Id"], check=False).returncode == 1
        daemon.docker("run", "--rm", "--network", "none", "twin/b", "/bin/sh", "-c", "echo whole")

        daemon.docker("rm", "--volumes", *store.containers())
        while images := daemon.docker("images", "--all", "--quiet", "--no-trunc").split():
            # Not those that others build on; they go with the last of these.
            parents = {image["Parent"] for image in daemon.inspect("image", *set(images))}
            daemon.docker("rmi", "--force", *(set(images) - parents))

    layerdb = store.root / "image" / store.driver / "layerdb"
    assert list((layerdb / "sha256").iterdir()) == []
    assert list((layerdb / "mounts").iterdir()) == []
    assert private.errors() == []


def _check_all_is_there(served: Served, *, new_images: int = 0, new_containers: int = 0) -> None:
    images = {row["ID"] for row in served.daemon.table("images", "--all")}
    assert images >= set(served.store.image_ids)
    assert len(images) == len(served.store.image_ids) + new_images
    containers = {row["ID"] for row in served.daemon.table("ps", "--all")}
    assert containers >= set(served.store.containers())
    assert len(containers) == len(served.store.containers()) + new_containers
