"""Links between containers, which Docker >= 1.10 has in `hostconfig.json` (daemon/links.go)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from migrator.errors import FormatError, Problem, Subject
from migrator.legacy.containers import LegacyContainer
from migrator.legacy.linkgraph import Link
from migrator.legacy.root import LegacyRoot
from migrator.store.containerconfig import alias_of, links_of
from migrator.text import shown


@dataclass(frozen=True, slots=True)
class Links:
    """The links that are `wanted`, by the container that has them; why others are left out."""

    wanted: Mapping[str, Sequence[Link]]
    problems: tuple[Problem, ...]


def plan_links(
    root: LegacyRoot, to_come: Iterable[LegacyContainer], before: Iterable[LegacyContainer]
) -> Links:
    """Links of the containers that are `to_come`, and of others to these.

    Those between containers that were migrated `before` are left alone: their
    owner may have removed some since. A link to a container that is neither is a
    problem, unless it was made before.
    """
    graph, problems = root.links()
    come, done = {x.id: x for x in to_come}, {x.id: x for x in before}
    wanted: dict[str, Sequence[Link]] = {}
    for container in (*come.values(), *done.values()):
        if container.hostconfig is None:
            continue
        present = _aliases(container.hostconfig)
        links = [link for link in graph.get(container.id, ()) if link.alias not in present]
        problems += [
            left_out(container, link)
            for link in links
            if link.child not in come and link.child not in done
        ]
        if container.id in come:
            wanted[container.id] = [x for x in links if x.child in come or x.child in done]
        elif new := [link for link in links if link.child in come]:
            wanted[container.id] = new
    return Links(wanted, tuple(problems))


def left_out(container: LegacyContainer, link: Link) -> Problem:
    """The problem of a link to a container that is not migrated."""
    reason = f"linked as {shown(link.alias)!r} to container {shown(link.child)}, not migrated"
    return Problem(Subject.LINK, container.shown, reason)


def _aliases(hostconfig: bytes) -> set[str]:
    """The aliases of the links in a host config."""
    try:
        return {alias_of(link) for link in links_of(hostconfig) or ()}
    except FormatError:
        # Said when the container is migrated.
        return set()
