"""Which of the stores below `image/` is meant."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.drivers import AUTO
from migrator.errors import DataRootError, DriverError
from migrator.store.layout import TOP, Layout
from migrator.system.rootfiles import RootFiles
from migrator.text import shown


def stores_in(files: RootFiles) -> list[str]:
    """The drivers that have a store in a data root."""
    names = files.names(TOP)
    if TOP in files.unreadable:
        files.refuse_denied()
        raise DataRootError(files.unreadable[TOP], subject=shown(str(files.root / TOP)))
    return [name for name in names if files.is_directory(Layout(name).layerdb)]


def choose_store(
    files: RootFiles, found: Sequence[str], chosen: str = AUTO, preferred: Sequence[str] = ()
) -> str:
    """The one of the drivers `found` that is `chosen`; else the first that is preferred.

    Without either there must be just one. Raises DataRootError without a store,
    DriverError if it is unclear which is meant.
    """
    if chosen != AUTO:
        if chosen not in found:
            raise DriverError("there is no store of this driver in image/", subject=chosen)
        return chosen
    if wanted := [name for name in preferred if name in found]:
        return wanted[0]
    subject = shown(str(files.root))
    if not found:
        raise DataRootError(
            "no content-addressed store in image/",
            subject=subject,
            hint="`migrator migrate` makes one of a store of Docker <= 1.9",
        )
    if len(found) > 1:
        raise DriverError(
            f"the stores of several drivers are in image/: {', '.join(found)}",
            subject=subject,
            hint="say which one with -s, --storage-driver",
        )
    return found[0]
