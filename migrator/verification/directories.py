"""Where each storage driver keeps the directory that a cache-id names."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.errors import DriverError


@dataclass(frozen=True, slots=True)
class Layout:
    """A driver's directories, `{}` standing for the cache-id, relative to the data root.

    `holder` exists for every layer and container, None where nothing shows;
    `files` is where a layer's files are, None where they are no plain files.
    `complete`: a layer's directory is the whole tree, its parent's files
    included; else it has only the layer's own.
    """

    holder: str | None
    files: str | None
    complete: bool

    @property
    def sized_by_walk(self) -> bool:
        """Docker records what the directory holds as the layer's size, not what its tar has.

        Docker daemon/graphdriver/{aufs,overlay2}: ApplyDiff ends in directory.Size; the
        others apply a diff with the generic code, which sums the tar headers up.
        """
        return not self.complete


_LAYOUTS = {
    "aufs": Layout("aufs/diff/{}", "aufs/diff/{}", complete=False),
    "btrfs": Layout("btrfs/subvolumes/{}", "btrfs/subvolumes/{}", complete=True),
    "devicemapper": Layout("devicemapper/metadata/{}", None, complete=True),
    "overlay": Layout("overlay/{}", "overlay/{}/root", complete=True),
    "overlay2": Layout("overlay2/{}", "overlay2/{}/diff", complete=False),
    "vfs": Layout("vfs/dir/{}", "vfs/dir/{}", complete=True),
    "zfs": Layout(None, None, complete=True),
}


def layout_of(driver: str) -> Layout:
    """The layout of a driver. Raises DriverError for one that is not known."""
    try:
        return _LAYOUTS[driver]
    except KeyError:
        raise DriverError("unknown storage driver", subject=driver) from None
