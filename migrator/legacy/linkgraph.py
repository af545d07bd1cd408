"""Links between containers: `linkgraph.db`, the SQLite file of Docker <= 1.9's graphdb.

The database is read from a copy in a temporary directory, since SQLite may
write to what it opens: it rolls an unfinished transaction back.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from migrator.errors import FormatError, Problem, Subject
from migrator.system.files import read_file
from migrator.text import shown

# A container's name takes some 320 bytes, a link 210: this is for 100,000 with a link each.
_MAX_FILE = 64 << 20
# A damaged or hostile file can hold far more rows, longer values and slower columns
# than its size says: pages can be shared, defaults and columns be computed.
_MAX_VALUE = 16 << 10
_MAX_TEXT = 64 << 20
_STEPS_A_CALL = 10_000
_MAX_CALLS = 2_000

# What a link takes besides its text, about.
_PER_LINK = 256

# Ends a rollback journal that belongs to a transaction over several databases: SQLite
# would follow the path written there and remove that file.
SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")

_ROOT_ENTITY = "0"


class Link(NamedTuple):
    """`child` is the ID of the container that is linked to, under the name `alias`."""

    child: str
    alias: str


def read_links(path: Path) -> tuple[Mapping[str, list[Link]], list[Problem]]:
    """The links of each container ID, sorted by alias; a missing file holds none.

    A database that cannot be read is a problem. Raises PermissionDenied.
    """
    try:
        return _read(path), []
    except (FormatError, sqlite3.Error, UnicodeDecodeError, OSError) as error:
        # SQLite's own messages quote names in the file, which need not be UTF-8.
        reason = f"cannot be read, links between containers are lost ({shown(str(error))})"
        return {}, [Problem(Subject.LINK, path.name, reason)]


def _read(path: Path) -> dict[str, list[Link]]:
    database = read_file(path, _MAX_FILE)
    if database is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="migrator-") as directory:
        copy = Path(directory, "linkgraph.db")
        copy.write_bytes(database)
        for suffix in ("-journal", "-wal"):
            log = read_file(path.with_name(path.name + suffix), _MAX_FILE)
            if log is not None:
                if log.endswith(SUPER_JOURNAL):
                    raise FormatError("its journal names another file")
                copy.with_name(copy.name + suffix).write_bytes(log)
        with closing(sqlite3.connect(copy)) as connection:
            return _query(connection)


def _query(connection: sqlite3.Connection) -> dict[str, list[Link]]:
    calls = 0

    def too_long() -> bool:
        nonlocal calls
        calls += 1
        return calls > _MAX_CALLS

    connection.set_progress_handler(too_long, _STEPS_A_CALL)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
    connection.text_factory = lambda value: value.decode("utf-8", "replace")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA query_only = ON")
    # A view or a virtual table has no root page, and may compute anything.
    tables = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'edge' AND rootpage > 0"
    if connection.execute(tables).fetchone() is None:
        return {}
    links = defaultdict(list)
    left = _MAX_TEXT
    for parent, child, alias in connection.execute("SELECT parent_id, entity_id, name FROM edge"):
        texts = isinstance(parent, str) and isinstance(child, str) and isinstance(alias, str)
        if texts and parent != _ROOT_ENTITY:
            left -= len(parent) + len(child) + len(alias) + _PER_LINK
            if left < 0:
                raise FormatError("it holds more links than containers can have")
            links[parent].append(Link(child, alias))
    return {parent: sorted(edges, key=lambda link: link.alias) for parent, edges in links.items()}
