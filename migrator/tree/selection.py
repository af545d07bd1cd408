"""What is a layer's own in one directory of its source, for all storage drivers.

The source is looked at alone, or together with what lies underneath.
"""

from __future__ import annotations

import os
from operator import itemgetter
from typing import Protocol

from migrator.errors import LayerError
from migrator.tree.descent import Descent
from migrator.tree.listing import Item, Lister, OwnKind
from migrator.tree.sameness import Sameness
from migrator.tree.walk import Step
from migrator.tree.xattrs import is_redirected, path_at


class RequiredPaths(Protocol):
    """Paths that a layer must have as its own even if what lies underneath has the same."""

    def names(self, path: bytes) -> bool:
        """Whether `path`, no directory, is one of them."""
        ...

    def within(self, directory: bytes) -> bool:
        """Whether any of them is somewhere below `directory`."""
        ...


Kind = OwnKind | None
"""What is listed; None for a directory that is only looked into."""


class Selection:
    """Finds what is a layer's own in a directory of its source, for a walk to list.

    `new` stands in that directory. `copied`: the layer began as a copy of what
    lies underneath, so what it lacks of that it has deleted.
    """

    def __init__(
        self,
        new: Descent,
        lister: Lister,
        same: Sameness,
        required: RequiredPaths | None,
        copied: bool,
    ) -> None:
        self._new = new
        self._list = lister
        self._same = same
        self._required = required
        self._copied = copied
        # The topmost opaque directory that the walk is in: nothing underneath shows through.
        self._opaque: bytes | None = None

    def look(self, prefix: bytes, old: Descent | None, kind: Kind) -> list[Step[Kind]]:
        """What to do about all names in the directory, and the same one underneath, sorted."""
        if self._opaque is None or not prefix.startswith(self._opaque):
            self._opaque = prefix if kind is OwnKind.OPAQUE else None
        items = self._list(self._new, self._opaque is not None)
        if old is not None:
            steps = self._compared(prefix, items, old)
        else:
            steps = [step for item in items if (step := self._taken(prefix, item))]
        steps.sort(key=itemgetter(0))
        return steps

    def _taken(self, prefix: bytes, item: Item) -> Step[Kind] | None:
        """What to do about something that is only in the layer."""
        name, kind = os.fsencode(item.name), item.kind
        if kind is None:
            if not self._is_required(prefix + name, item.is_directory):
                return None
            kind = OwnKind.ENTRY
        return name, kind, item.is_directory, False

    def _compared(self, prefix: bytes, items: list[Item], old: Descent) -> list[Step[Kind]]:
        steps: list[Step[Kind] | None] = []
        one_device = os.fstat(self._new.fd).st_dev == os.fstat(old.fd).st_dev
        has_required = self._is_required(prefix[:-1], True)
        before = {item.name: item for item in self._list(old, False)}
        for item in items:
            old_item = before.pop(item.name, None)
            if old_item is None:
                steps.append(self._taken(prefix, item))
            elif not one_device or item.inode != old_item.inode:
                steps.append(self._changed(prefix, item, old_item, old))
            elif has_required and self._is_required(prefix + os.fsencode(item.name), False):
                steps.append((os.fsencode(item.name), OwnKind.ENTRY, False, False))
        for old_item in before.values() if self._copied else ():
            name = os.fsencode(old_item.name)
            if old_item.kind is OwnKind.WHITEOUT:
                raise _hidden(prefix + name)
            steps.append((name, OwnKind.WHITEOUT, False, False))
        return [step for step in steps if step is not None]

    def _changed(self, prefix: bytes, new: Item, old: Item, old_at: Descent) -> Step[Kind] | None:
        """What to do about a name that both have, as two files."""
        name, kind = os.fsencode(new.name), new.kind
        if kind is OwnKind.WHITEOUT:
            return None if old.kind is kind else (name, kind, False, False)
        if not new.is_directory:
            if (
                old.kind is not OwnKind.WHITEOUT
                and self._same(name, self._new.fd, old_at.fd)
                and not self._is_required(prefix + name, False)
            ):
                return None
            return name, kind, False, False
        if not old.is_directory or self._hides(name, kind, old.kind):
            return name, kind, True, False
        if old.kind is not kind and self._copied:
            raise _hidden(prefix + name)
        # Opaque in both: what is underneath is hidden already, and this joins that.
        unchanged = self._same(name, self._new.fd, old_at.fd)
        return name, None if unchanged else OwnKind.ENTRY, True, True

    def _hides(self, name: bytes, kind: OwnKind | None, old_kind: OwnKind | None) -> bool:
        """Whether nothing of the same directory underneath shows through this one."""
        if kind is OwnKind.OPAQUE and old_kind is not kind:
            return True
        return is_redirected(path_at(self._new.fd, name))

    def _is_required(self, path: bytes, is_directory: bool) -> bool:
        if self._required is None:
            return False
        return self._required.within(path) if is_directory else self._required.names(path)


def _hidden(path: bytes) -> LayerError:
    """What to raise when a layer brings back what only a layer far below has."""
    return LayerError("is hidden by the layer underneath, yet shown", subject=os.fsdecode(path))
