"""The walk through a layer's source directory that finds the layer's own files.

One walk for all storage drivers: through one tree, or through two at a time
of which the second is what lies underneath.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from migrator.errors import LayerError
from migrator.layer.recordpaths import RecordPaths
from migrator.tree.descent import Descent, unreadable
from migrator.tree.listing import Item, Lister, OwnKind
from migrator.tree.sameness import Sameness
from migrator.tree.xattrs import is_redirected, path_at


class Own(NamedTuple):
    """One path of a layer, relative to its root and without a trailing slash."""

    path: bytes
    kind: OwnKind


class _Step(NamedTuple):
    """What is to be done about a name: listed as `kind` (None: not), and looked into."""

    name: bytes
    kind: OwnKind | None
    enter: bool = False
    in_both: bool = False


class _Frame(NamedTuple):
    """A directory being walked, and the same one underneath if `in_both`; `alone` as in Lister."""

    prefix: bytes
    steps: Iterator[_Step]
    in_both: bool
    alone: bool


class OwnWalk:
    """Iterating walks once: depth first, directories before what is in them, sorted.

    `new` and `old` stand at the roots of the layer and, if there is something to
    compare it with, of what lies underneath. `copied`: the layer began as a copy
    of that, so what it lacks it has deleted. `paths` are listed even if they are
    the same in both. Raises LayerError.
    """

    def __init__(
        self,
        new: Descent,
        old: Descent | None,
        lister: Lister,
        same: Sameness,
        paths: RecordPaths | None,
        copied: bool = True,
    ) -> None:
        self._new = new
        self._old = old
        self._list = lister
        self._same = same
        self._paths = paths
        self._copied = copied

    def __iter__(self) -> Iterator[Own]:
        frames = [self._frame(b"", self._old is not None, False)]
        # So many of the frames' directories are listed; the root counts as one.
        listed = 1
        while frames:
            frame = frames[-1]
            step = next(frame.steps, None)
            if step is None:
                frames.pop()
                listed = min(listed, len(frames))
                if frames:
                    self._leave(frame.in_both)
                continue
            path = frame.prefix + step.name
            if step.kind is not None:
                for above in frames[listed:]:
                    yield Own(above.prefix[:-1], OwnKind.ENTRY)
                listed = len(frames)
                yield Own(path, step.kind)
            if step.enter:
                self._enter(path, step)
                alone = frame.alone or step.kind is OwnKind.OPAQUE
                frames.append(self._frame(path + b"/", step.in_both, alone))
                if step.kind is not None:
                    listed += 1

    def _enter(self, path: bytes, step: _Step) -> None:
        try:
            self._new.down(step.name)
            if step.in_both and self._old is not None:
                self._old.down(step.name)
        except OSError as error:
            raise unreadable(path, error) from None

    def _leave(self, in_both: bool) -> None:
        try:
            self._new.up()
            if in_both and self._old is not None:
                self._old.up()
        except OSError as error:
            raise unreadable(self._new.path, error) from None

    def _frame(self, prefix: bytes, in_both: bool, alone: bool) -> _Frame:
        try:
            items = self._list(self._new, alone)
            if in_both and self._old is not None:
                steps = self._compared(prefix, items, self._old)
            else:
                steps = [step for item in items if (step := self._taken(prefix, item))]
        except OSError as error:
            raise unreadable(prefix[:-1], error) from None
        steps.sort(key=attrgetter("name"))
        return _Frame(prefix, iter(steps), in_both, alone)

    def _taken(self, prefix: bytes, item: Item) -> _Step | None:
        """What to do about something that is only in the layer."""
        name, kind = os.fsencode(item.name), item.kind
        if kind is None:
            if not self._is_in_record(prefix + name, item.is_directory):
                return None
            kind = OwnKind.ENTRY
        return _Step(name, kind, item.is_directory)

    def _compared(self, prefix: bytes, items: list[Item], old: Descent) -> list[_Step]:
        steps: list[_Step | None] = []
        one_device = os.fstat(self._new.fd).st_dev == os.fstat(old.fd).st_dev
        in_record = self._paths is not None and self._paths.within(prefix[:-1])
        before = {item.name: item for item in self._list(old, False)}
        for item in items:
            old_item = before.pop(item.name, None)
            if old_item is None:
                steps.append(self._taken(prefix, item))
            elif not one_device or item.inode != old_item.inode:
                steps.append(self._changed(prefix, item, old_item, old))
            elif in_record and self._is_in_record(prefix + os.fsencode(item.name), False):
                steps.append(_Step(os.fsencode(item.name), OwnKind.ENTRY))
        for old_item in before.values() if self._copied else ():
            name = os.fsencode(old_item.name)
            if old_item.kind is OwnKind.WHITEOUT:
                raise _hidden(prefix + name)
            steps.append(_Step(name, OwnKind.WHITEOUT))
        return [step for step in steps if step is not None]

    def _changed(self, prefix: bytes, new: Item, old: Item, old_at: Descent) -> _Step | None:
        """What to do about a name that both have, as two files."""
        name, kind = os.fsencode(new.name), new.kind
        if kind is OwnKind.WHITEOUT:
            return None if old.kind is kind else _Step(name, kind)
        if not new.is_directory:
            if (
                old.kind is not OwnKind.WHITEOUT
                and self._same(name, self._new.fd, old_at.fd)
                and not self._is_in_record(prefix + name, False)
            ):
                return None
            return _Step(name, kind)
        if not old.is_directory or self._hides(name, kind, old.kind):
            return _Step(name, kind, enter=True)
        if old.kind is not kind and self._copied:
            raise _hidden(prefix + name)
        # Opaque in both: what is underneath is hidden already, and this joins that.
        unchanged = self._same(name, self._new.fd, old_at.fd)
        return _Step(name, None if unchanged else OwnKind.ENTRY, enter=True, in_both=True)

    def _hides(self, name: bytes, kind: OwnKind | None, old_kind: OwnKind | None) -> bool:
        """Whether nothing of the same directory underneath shows through this one."""
        if kind is OwnKind.OPAQUE and old_kind is not kind:
            return True
        return is_redirected(path_at(self._new.fd, name))

    def _is_in_record(self, path: bytes, is_directory: bool) -> bool:
        if self._paths is None:
            return False
        return self._paths.within(path) if is_directory else self._paths.names(path)


def _hidden(path: bytes) -> LayerError:
    """What to raise when a layer brings back what only a layer far below has."""
    return LayerError("is hidden by the layer underneath, yet shown", subject=os.fsdecode(path))
