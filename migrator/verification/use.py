"""Whether Docker has used a data root since it was migrated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from migrator.errors import FormatError
from migrator.state.directory import is_state
from migrator.state.manifest import Manifest
from migrator.verification.files import RootFiles, json_object
from migrator.verification.layers import HEX

_CONFIG = "/config.v2.json"


def sign_of_use(
    files: RootFiles, manifest: Manifest, others: Sequence[Manifest], changed: Set[str]
) -> str | None:
    """What shows it, in words; None when nothing does.

    `others` are the manifests of other migrations here, whose things count as
    ours. `changed` are the published files that have another content now.
    Nothing that damage to a single file could bring about counts.
    """
    return next(_signs(files, manifest, others, changed), None)


def _signs(
    files: RootFiles, manifest: Manifest, others: Sequence[Manifest], changed: Set[str]
) -> Iterator[str]:
    published = {thing.path for each in (manifest, *others) for thing in each.things}
    made = published.union(*(each.directories for each in (manifest, *others)))
    ours = {path.partition("/")[0] for path in made}
    for name in files.names():
        if name not in ours and name not in manifest.listing and not is_state(name):
            yield f"{name} is new in the data root"
    # What was in Docker's order before, or is another migration's, tells nothing.
    told = {entry.path for entry in manifest.files if entry.replaced is None}
    for path in sorted(changed & told - {each.path for other in others for each in other.files}):
        if path.endswith(_CONFIG) and _is_in_dockers_order(files, path):
            yield f"{path} was rewritten by Docker"
    for directory in {tree.path.partition("/")[0] for tree in manifest.trees}:
        before = manifest.joined.get(directory, ())
        for name in files.names(directory):
            path = f"{directory}/{name}"
            if path not in made and name not in before and HEX.match(name):
                yield f"{path} is new"
    if "image" in manifest.listing:
        # What is not in the manifest may have been there before.
        return
    base = f"image/{manifest.driver}"
    for directory in ("layerdb/sha256", "layerdb/mounts", "imagedb/content/sha256"):
        for name in files.names(f"{base}/{directory}"):
            path = f"{base}/{directory}/{name}"
            if path not in made and HEX.fullmatch(name):
                yield f"{path} is new"
    for name in files.names("containers"):
        path = f"containers/{name}{_CONFIG}"
        if path not in made and _exists(files, path):
            yield f"{path} is new"


def _exists(files: RootFiles, path: str) -> bool:
    try:
        return files.status(path) is not None
    except FormatError:
        return False


def _is_in_dockers_order(files: RootFiles, path: str) -> bool:
    """Docker writes a container's keys in the order of its struct, the migration sorts them."""
    try:
        keys = list(json_object(files.read(path)))
    except FormatError:
        return False
    return keys != sorted(keys)
