"""What a daemon shows of migrated containers agrees with the legacy metadata."""

from __future__ import annotations

from tests.docker.conftest import Served

_STATES = {True: "Exited", False: "Created"}


def test_ps_shows_every_container_with_its_name_and_state(served: Served) -> None:
    rows = served.daemon.table("ps", "--all")

    # Names that links give a container follow its own.
    shown = {
        row["ID"]: (row["Names"].split(",")[0], row["State"], row["Status"].split(" (")[0])
        for row in rows
    }
    assert shown == {
        container: (config["Name"].removeprefix("/"), state.lower(), state)
        for container, config in served.store.containers().items()
        for state in [_STATES[config["State"]["FinishedAt"] > "0001-01-02"]]
    }


def test_inspect_agrees_with_the_legacy_container(served: Served) -> None:
    containers = served.store.containers()
    images = served.store.golden["id_map"]
    for shown in served.daemon.inspect("container", *containers):
        legacy = containers[shown["Id"]]
        assert shown["Image"] == images[legacy["Image"]]
        for key in ("Name", "Created", "Path", "Args", "Driver", "RestartCount"):
            assert shown[key] == legacy[key], key
        for key in ("Running", "Paused", "OOMKilled", "Dead", "ExitCode", "Error", "StartedAt"):
            assert shown["State"][key] == legacy["State"][key], key
        for key in ("Hostname", "User", "Env", "Cmd", "Entrypoint", "Image", "WorkingDir"):
            assert shown["Config"][key] == legacy["Config"][key], key
        assert (shown["Config"]["Labels"] or {}) == (legacy["Config"].get("Labels") or {})
        links = served.store.golden["links"][shown["Id"]]
        below = [f"{name}:{shown['Name']}/{alias}" for name, alias in _split(links)]
        assert sorted(shown["HostConfig"]["Links"] or []) == below


def _split(links: list[str]) -> list[tuple[str, str]]:
    return [(name, alias) for name, _, alias in (link.partition(":") for link in links)]
