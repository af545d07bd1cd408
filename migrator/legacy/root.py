"""The data root: is it one, what is in it, and which storage driver made it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migrator import drivers
from migrator.drivers import AUTO, Driver
from migrator.errors import DataRootError, DriverError, PermissionDenied, Problem, UsageError
from migrator.legacy.containers import LegacyContainer, read_containers
from migrator.legacy.graph import Graph
from migrator.legacy.linkgraph import Link, read_links
from migrator.legacy.repositories import Reference, read_repositories
from migrator.system.files import is_directory, refusal
from migrator.text import shown


@dataclass(frozen=True, slots=True)
class LegacyRoot:
    """A data root with a Docker <= 1.9 store, and the driver that made it.

    Without such a store (`has_store` is false) the driver is that of the
    content-addressed store that is there instead; empty if there are several.
    """

    path: Path
    driver_name: str
    has_store: bool
    storage_opts: tuple[str, ...] = ()
    work_dir: Path | None = None
    _drivers: dict[str, Driver] = field(default_factory=dict, repr=False, compare=False)

    @property
    def driver(self) -> Driver:
        """The storage driver, always the same object; raises DriverError if it cannot be read."""
        return self.driver_called(self.driver_name)

    def driver_called(self, name: str) -> Driver:
        """Likewise another driver, whose store is there as well."""
        if name not in self._drivers:
            self._drivers[name] = drivers.get(name, self.path, self.storage_opts, self.work_dir)
        return self._drivers[name]

    def graph(self) -> Graph:
        """The images; raises PermissionDenied or FormatError."""
        return Graph.read(self.path / "graph")

    def repositories(self) -> tuple[list[Reference], list[Problem]]:
        """The tags and digests, as `read_repositories` gives them."""
        return read_repositories(self.path / f"repositories-{self.driver_name}")

    def containers(self) -> tuple[list[LegacyContainer], list[Problem]]:
        """The containers of this driver, as `read_containers` gives them."""
        return read_containers(self.path / "containers", self.driver_name)

    def links(self) -> tuple[Mapping[str, list[Link]], list[Problem]]:
        """The links between containers, as `read_links` gives them."""
        return read_links(self.path / "linkgraph.db")


def open_root(
    path: Path,
    driver: str = AUTO,
    storage_opts: Iterable[str] = (),
    work_dir: Path | None = None,
) -> LegacyRoot:
    """Look at a data root. `driver` is a driver's name or `auto`.

    `storage_opts` and `work_dir` are the driver's, see there.

    Raises DataRootError, PermissionDenied, DriverError, or UsageError for a
    name that is no driver's.
    """
    if driver != AUTO and driver not in drivers.KNOWN:
        known = ", ".join(drivers.KNOWN)
        raise UsageError(f"{driver!r} is no storage driver", hint=f"known drivers: {known}")
    path = path.absolute()
    names = _list(path)
    if "graph" in names:
        chosen = _choose(path, names, driver)
        root = LegacyRoot(path, chosen, True, tuple(storage_opts), work_dir)
        # An option that the driver does not know is said at once.
        assert root.driver
        return root
    if "image" in names:
        if driver == AUTO:
            made = _list(path / "image") & {*drivers.KNOWN}
            driver = made.pop() if len(made) == 1 else ""
        return LegacyRoot(path, driver, False, tuple(storage_opts), work_dir)
    raise DataRootError(
        "holds no Docker store (neither graph/ nor image/)",
        subject=shown(str(path)),
        hint="give the directory that the daemon used (-g, --graph), usually /var/lib/docker",
    )


def _list(path: Path) -> set[str]:
    subject = shown(str(path))
    try:
        return set(os.listdir(path))
    except FileNotFoundError:
        raise DataRootError("does not exist", subject=subject) from None
    except NotADirectoryError:
        raise DataRootError("is not a directory", subject=subject) from None
    except OSError as error:
        denied = refusal(error, path)
        if isinstance(denied, PermissionDenied):
            raise denied from None
        raise DataRootError(denied.message, subject=subject) from None


def _choose(path: Path, names: set[str], driver: str) -> str:
    subject = shown(str(path))
    present = [name for name in drivers.KNOWN if name in names and is_directory(path / name)]
    found = ", ".join(present)
    if driver != AUTO:
        if driver not in present:
            hint = f"directories found: {found}" if present else "no driver's directory is there"
            raise DriverError(f"holds no {driver}/ directory", subject=subject, hint=hint)
        return driver
    if not present:
        raise DriverError(
            "holds images (graph/), but no storage driver's directory",
            subject=subject,
            hint=f"directories looked for: {', '.join(drivers.KNOWN)}; a symbolic link is not"
            " followed, mount what it leads to in its place (mount --bind)",
        )
    candidates = [name for name in present if f"repositories-{name}" in names] or present
    # Old hosts with any driver kept volumes in vfs/dir; overlay2 came after the migration.
    for bystander in ("vfs", "overlay2"):
        if len(candidates) > 1 and bystander in candidates:
            candidates.remove(bystander)
    if len(candidates) > 1:
        raise DriverError(
            f"holds the stores of several storage drivers: {', '.join(candidates)}",
            subject=subject,
            hint="choose one with -s, e.g. -s " + candidates[0],
        )
    return candidates[0]
