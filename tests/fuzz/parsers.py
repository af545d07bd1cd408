"""What is fuzzed: for each parser, how an input is made and how it is taken in."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace

import orjson
from blake3 import blake3
from fastcrc import crc64

from migrator import drivers, gojson
from migrator.conversion.stored import read_transferable
from migrator.errors import FormatError, MigratorError
from migrator.layer.digest import digest_record
from migrator.layer.identity import is_sha256
from migrator.layer.tarsplit import Record
from migrator.legacy import containers, v1image
from migrator.legacy.containers import read_containers
from migrator.legacy.graph import Graph
from migrator.legacy.linkgraph import read_links
from migrator.legacy.repositories import read_repositories
from migrator.migration import rewriting
from migrator.state import left_out
from migrator.state.built import BuiltTrees
from migrator.state.directory import StateDirectory
from migrator.state.journal import Journal
from migrator.state.manifest import Manifest
from migrator.state.staging import Staging
from migrator.store import containerconfig, imageconfig
from migrator.store.distribution import Distribution
from migrator.store.markers import IMAGES, read_image_map, stage_markers
from migrator.store.references import References
from migrator.system.rootfiles import RootFiles
from tests.fuzz.mutation import DIGEST, ID, OTHER_ID, mutate_bytes, mutate_json, mutate_lines
from tests.fuzz.seeds import seeds
from tests.scratch import MEMORY

Files = dict[str, bytes]

_DIGEST = DIGEST.decode()


@dataclass(frozen=True, slots=True)
class Parser:
    """`make` gives an input, `run` takes it in; `share` is its part of all inputs.

    `run` raises nothing but MigratorError for an input that is refused, and
    AssertionError when a result is not what it must be.
    """

    make: Callable[[Random], Files]
    run: Callable[[Files], object]
    share: int


@cache
def _workplace() -> Path:
    """A directory for the inputs that are files, in memory where possible."""
    memory = Path(os.environ.get(MEMORY, "/dev/shm"))
    directory = tempfile.mkdtemp(prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None)
    return Path(directory)


def clean_up() -> None:
    """Remove what running inputs left on the disk."""
    shutil.rmtree(_workplace(), ignore_errors=True)
    _workplace.cache_clear()
    _layer.cache_clear()


def _laid_out(files: Files) -> Path:
    """A fresh directory that holds the input's files."""
    root = _workplace() / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def _json_of(*kinds: str) -> Callable[[Random], Files]:
    def make(random: Random) -> Files:
        known = [text for kind in kinds for text in seeds()[kind]]
        return {"json": mutate_json(random, random.choice(known), known)}

    return make


def _run_gojson(files: Files) -> None:
    raw = files["json"]
    try:
        orjson.loads(raw)
        valid = True
    except orjson.JSONDecodeError:
        valid = False
    try:
        compact = gojson.compact(raw)
    except FormatError:
        # What is right by RFC 8259 is right for Go as well.
        assert not valid
        raise
    assert gojson.compact(compact) == compact
    strings = gojson.SliceOf(gojson.STRINGS)
    for kind in (gojson.STRING, gojson.INT64, gojson.TIME, gojson.STR_SLICE, strings):
        try:
            value = gojson.decode(raw, kind)
            assert gojson.decode(kind.write(value), kind) == value
        except FormatError:
            continue
    assert gojson.members(gojson.encode_object(gojson.members(raw))) is not None


def _run_image(files: Files) -> None:
    raw = files["json"]
    for step in (v1image.parent_of, imageconfig.history_entry):
        try:
            step(raw)
        except FormatError as error:
            assert len(str(error)) < 1000
    entry = imageconfig.history_entry(raw)
    config = imageconfig.make_config(raw, [_DIGEST, _DIGEST], [entry, entry])
    assert orjson.loads(gojson.members(config)["rootfs"])["diff_ids"] == [_DIGEST] * 2
    imageconfig.inherited_history(config)


def _run_config(files: Files) -> None:
    raw = files["json"]
    containers.image_of(raw)
    written = containerconfig.rewrite(raw, _DIGEST)
    assert containers.image_of(written) == _DIGEST


def _run_hostconfig(files: Files) -> None:
    written = containerconfig.with_links(files["json"], ["/a:b", "/\ufffd:<"])
    assert written is None or containerconfig.with_links(written, []) is None


def _make_repositories(random: Random) -> Files:
    name = b'{"Repositories":{"a/b":{"latest":"%b"},"c":{"%b":"%b"}}}' % (ID, DIGEST, ID)
    known = [*seeds()["repositories"], name]
    return {"repositories": mutate_json(random, random.choice(known), known)}


def _run_repositories(files: Files) -> None:
    references, problems = read_repositories(_laid_out(files) / "repositories")
    for reference in references:
        assert (reference.name + reference.key + reference.shown).isprintable()
    _check_printable(problems)


def _make_graph(random: Random) -> Files:
    known = seeds()["json"]
    ids = [bytes((digit,)).decode() * 64 for digit in random.sample(b"0123456789abcdef", 5)]
    files = {}
    for v1_id in ids[: random.randrange(1, 6)]:
        parent = random.choice([*ids, "", "x", "A" * 64, "../" + ids[0]])
        fixed = b'{"id":"%b","parent":"%b"}' % (v1_id.encode(), parent.encode())
        text = random.choice((fixed, fixed, random.choice(known)))
        files[f"{v1_id}/json"] = mutate_json(random, text, known) if random.random() < 0.4 else text
        if random.random() < 0.3:
            files[f"{v1_id}/parent"] = mutate_bytes(random, parent.encode())
        if random.random() < 0.3:
            numbers = (
                b"0",
                b"17",
                b"-1",
                b"9" * 18,
                b"9223372036854775808",
                b"1" * 5000,
                b"1\n",
                b"\xb2",
            )
            files[f"{v1_id}/layersize"] = random.choice(numbers)
        if random.random() < 0.3:
            files[f"{v1_id}/checksum"] = mutate_bytes(random, DIGEST)
    return files


def _run_graph(files: Files) -> None:
    graph = Graph.read(_laid_out(files))
    order = graph.order()
    assert set(order) == set(graph.images)
    for v1_id in order:
        parent = graph.images[v1_id].parent
        assert parent is None or order.index(parent) < order.index(v1_id)
    _check_printable(graph.problems)


def _make_record(random: Random) -> Files:
    known = [_layer()[1], _layer()[1], *seeds()["record"]]
    text = mutate_lines(
        random, random.choice(known), lambda line: mutate_json(random, line, [line]) + b"\n"
    )
    data = gzip.compress(text, 1)
    return {"record": mutate_bytes(random, data) if random.random() < 0.1 else data}


@cache
def _layer() -> tuple[Path, bytes]:
    """A small layer with ways out of it, and its record."""
    root = _workplace() / "layer"
    (root / "etc" / "deep").mkdir(parents=True)
    files = {b"a": b"some", b"etc/passwd": b"root", b"etc/deep/x": bytes(5000), b"\xff": b"odd"}
    for name, content in files.items():
        (root / os.fsdecode(name)).write_bytes(content)
    (root / "out").symlink_to("../../../..")
    (root / "abs").symlink_to("/etc")
    (root / "self").symlink_to("self")
    (root / "here").symlink_to(".")
    os.mkfifo(root / "fifo")
    lines = []
    names = (*files, b"abs/passwd", b"out/a", b"here/here/a")
    for name in names:
        content = files[
            name.replace(b"abs", b"etc").rpartition(b"out/")[2].removeprefix(b"here/here/")
        ]
        checksum = crc64.go_iso(content).to_bytes(8, "big")
        key = {"name": name.decode()} if name.isascii() else {"name_raw": "/w=="}
        lines.append({"type": 2, "payload": "AAAA"})
        entry = {"type": 1, **key, "size": len(content), "payload": _base64(checksum)}
        lines.append(entry)
    others = ("fifo", "self", "out", "/dev/zero", "etc/")
    lines += [{"type": 1, "name": other, "payload": None} for other in others]
    text = b"".join(orjson.dumps({**line, "position": at}) + b"\n" for at, line in enumerate(lines))
    return root, text


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _run_record(files: Files) -> None:
    record = _workplace() / "record"
    record.write_bytes(files["record"])
    try:
        for _ in Record(record):
            pass
    finally:
        digest = digest_record(record, _layer()[0])
    assert 0 <= digest.size <= digest.tar_bytes


def _make_containers(random: Random) -> Files:
    files = {}
    for name in ("a", "b c", "\u202e", "-init"):
        for kind in ("config", "hostconfig"):
            known = seeds()[kind]
            text = random.choice(known)
            files[f"{name}/{kind}.json"] = (
                mutate_json(random, text, known) if random.random() < 0.5 else text
            )
    return files


def _run_containers(files: Files) -> None:
    containers, problems = read_containers(_laid_out(files), "overlay")
    for container in containers:
        assert container.shown.isprintable()
    _check_printable(problems)


def _make_linkgraph(random: Random) -> Files:
    files = {"linkgraph.db": mutate_bytes(random, random.choice(seeds()["linkgraph"]))}
    for suffix in ("-journal", "-wal"):
        if random.random() < 0.2:
            files[f"linkgraph.db{suffix}"] = mutate_bytes(random, _JOURNALS[suffix])
    return files


# The headers of a journal with one page to put back, and of a log (sqlite.org/fileformat2.html).
_JOURNALS = {
    "-journal": bytes.fromhex("d9d505f920a163d7 00000001 00000000 00000001 00000200 00001000")
    + bytes(484)
    + bytes.fromhex("00000001")
    + bytes(4100),
    "-wal": bytes.fromhex("377f0682 002de218 00001000 00000000 00000001 00000002") + bytes(4136),
}

_STATEMENTS = (
    "CREATE TABLE edge (entity_id text, parent_id text, name text)",
    "CREATE TABLE edge (entity_id, parent_id, name, PRIMARY KEY (name)) WITHOUT ROWID",
    "CREATE TABLE edge (entity_id, parent_id AS (hex(zeroblob(10000))), name AS (parent_id))",
    "CREATE TABLE edge (entity_id, parent_id DEFAULT 'x', name AS (hex(randomblob(9))) STORED)",
    "CREATE TABLE edge (entity_id COLLATE nocase, parent_id, name CHECK (name > 'a'))",
    "CREATE VIEW edge AS SELECT 1 AS entity_id, 2 AS parent_id, 3 AS name",
    "CREATE VIRTUAL TABLE edge USING fts4(entity_id, parent_id, name)",
    "CREATE TABLE edge (x)",
    'CREATE TABLE Edge ("entity_id" blob, [parent_id] int, `name` real)',
    "CREATE TRIGGER t AFTER INSERT ON edge BEGIN SELECT load_extension('x'); END",
    "CREATE INDEX i ON edge (name, parent_id)",
    "INSERT INTO edge VALUES ('a', 'b', 'c')",
    "INSERT INTO edge (entity_id) VALUES ('a')",
    "INSERT INTO edge VALUES (1, 2.5, x'00')",
    "INSERT INTO edge VALUES (NULL, NULL, NULL)",
    "INSERT INTO edge VALUES ('a', 'b', CAST(x'ff1b00' AS text))",
    "INSERT INTO edge VALUES ('0', 'b', hex(zeroblob(300000)))",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000)"
    " INSERT INTO edge SELECT 'a', 'b', i FROM n",
    "ALTER TABLE edge ADD COLUMN more DEFAULT 'y'",
    "ALTER TABLE edge RENAME TO other",
    "PRAGMA user_version = -1",
    "PRAGMA encoding = 'UTF-16be'",
    "PRAGMA page_size = 512",
    "PRAGMA auto_vacuum = 2",
    "PRAGMA journal_mode = wal",
    "PRAGMA writable_schema = ON",
    "UPDATE sqlite_master SET rootpage = rootpage + 1",
    "UPDATE sqlite_master SET sql = sql || ' garbage'",
    "UPDATE sqlite_master SET sql = 'CREATE TABLE edge (a, b, c, d, e)'",
    "UPDATE sqlite_master SET type = 'table', rootpage = 1",
    "DELETE FROM sqlite_master",
)


def _make_sql(random: Random) -> Files:
    path = _workplace() / "made.db"
    for old in path.parent.glob("made.db*"):
        old.unlink()
    pragmas = [text for text in _STATEMENTS if text.startswith("PRAGMA")]
    chosen = [
        *random.choices(pragmas, k=random.randrange(3)),
        random.choice(_STATEMENTS[:9]),
        *random.choices(_STATEMENTS, k=random.randrange(1, 12)),
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for statement in chosen:
            try:
                connection.execute(statement).fetchall()
            except sqlite3.Error:
                continue
        return {
            file.name.replace("made", "linkgraph"): file.read_bytes()
            for file in path.parent.glob("made.db*")
            if not file.name.endswith("-shm")
        }


def _run_linkgraph(files: Files) -> None:
    root = _laid_out(files)
    before = sorted(os.listdir(root))
    links, problems = read_links(root / "linkgraph.db")
    assert not (links and problems)
    assert sorted(os.listdir(root)) == before
    _check_printable(problems)


_IMAGE_MAP = b'{"%b":"%b","%b":"%b"}' % (ID, DIGEST, OTHER_ID, DIGEST)
_NEW_STORE = {
    IMAGES: _IMAGE_MAP,
    "image/overlay/repositories.json": b'{"Repositories":{"a":{"a:b":"%b","a@%b":"%b"}}}'
    % (DIGEST, DIGEST, DIGEST),
    f"image/overlay/distribution/v2metadata-by-diffid/{_DIGEST.replace(':', '/')}": (
        b'[{"Digest":"%b","SourceRepository":""}]' % DIGEST
    ),
    f"image/overlay/imagedb/content/sha256/{ID.decode()}": (
        b'{"created":"2015-01-01T00:00:00Z","history":[{"created":"2015-01-01T00:00:00Z"}],'
        b'"rootfs":{"type":"layers","diff_ids":["%b"]}}' % DIGEST
    ),
}


def _make_marker(random: Random) -> Files:
    return {IMAGES: mutate_json(random, _IMAGE_MAP, list(_NEW_STORE.values()))}


def _run_marker(files: Files) -> None:
    images = read_image_map(_laid_out(files))
    assert images is not None
    assert all(isinstance(image_id, str) for image_id in images.values())


def _make_store(random: Random) -> Files:
    files = dict(_NEW_STORE)
    name = random.choice(sorted(files))
    files[name] = mutate_json(random, files[name], list(files.values()))
    return files


def _run_store(files: Files) -> None:
    """What an earlier migration left is added to."""
    state = StateDirectory(_laid_out(files))
    state.create()
    staging = Staging(state, "overlay")
    failed: MigratorError | None = None
    plan = SimpleNamespace(target="overlay", migrated={ID: _DIGEST})

    def existing() -> None:
        image = rewriting.existing_image(plan, staging, ID)  # type: ignore[arg-type]
        assert image is not None
        diff_ids = (*image.stack.diff_ids, "x")
        imageconfig.make_config(b'{"docker_version":"1.9.1"}', diff_ids, image.history)
        assert image.stack.chain.isascii()

    def references() -> None:
        added = References(staging, "overlay")
        for key in ("a:b", "a:c"):
            assert isinstance(added.add("a", key, _DIGEST), str | None)
        added.finish()

    def distribution() -> None:
        added = Distribution(staging, "overlay")
        added.add(_DIGEST, "sha256:" + "0" * 64)
        added.finish()

    for step in (existing, references, distribution, lambda: stage_markers(staging, {"a": "b"})):
        try:
            step()
        except MigratorError as error:
            failed = error
    if failed is not None:
        raise failed


_SEAL = b',\n  "seal": "'


def _make_manifest(random: Random) -> Files:
    entry = {
        "path": "image/overlay/repositories.json",
        "blake3": "0" * 64,
        "mode": 0o600,
        "inode": 1,
        "mtime_ns": 1,
        "replaced": None,
    }
    document = {
        "schema": 2,
        "driver": "overlay",
        "files": [entry, {**entry, "path": "containers/a/hostconfig.json", "replaced": "1" * 64}],
        "directories": ["image", "image/overlay"],
        "listing": ["graph"],
        "joined": {"containers": ["a"]},
        "trees": [{"path": "overlay2/a", "fingerprint": "2" * 64}],
    }
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2)
    body = mutate_json(random, body, [body])
    if random.random() < 0.95:
        # Whoever made the store can seal it as well.
        body = body.removesuffix(b"\n}")
        seal = blake3(body + b"\n}").hexdigest().encode()
        body += _SEAL + seal + b'"\n}'
    return {".migrator/manifest.json": body, ".migrator/phase": b"publishing"}


def _run_manifest(files: Files) -> None:
    state = StateDirectory(_laid_out(files))
    assert state.phase
    manifest = Manifest.load(state.manifest)
    texts = [manifest.driver, *manifest.listing, *manifest.directories, *manifest.joined]
    for entry in manifest.files:
        texts += [entry.path, entry.blake3, entry.replaced or ""]
        assert all(isinstance(n, int) for n in (entry.mode, entry.inode, entry.mtime_ns))
    for tree in manifest.trees:
        texts += [tree.path, tree.fingerprint]
    for names in manifest.joined.values():
        texts += names
    assert all(isinstance(text, str) for text in texts)


def _make_built(random: Random) -> Files:
    values = b'["%b", "%b", "%b"]' % (b"a" * 64, b"1" * 64, b"2" * 64)
    values = mutate_json(random, values, [values]).replace(b"\n", b" ")
    seal = blake3(values).hexdigest().encode()
    return {".migrator/built.jsonl": values + b" " + seal + b"\n" + values}


def _run_built(files: Files) -> None:
    state = StateDirectory(_laid_out(files))
    with BuiltTrees(state) as built:
        assert built.get("a" * 64, "other") is None


_ROW = b'["%b","%b",17,2048,1,3,"%b","recomputed",null,0.5]' % (ID, DIGEST, OTHER_ID)
_JOURNAL = ".migrator/journal.db"


def _make_journal(random: Random) -> Files:
    """Rows that somebody made and sealed, or a file that is damaged."""
    path = _workplace() / "journal.db"
    path.unlink(missing_ok=True)
    with Journal(path):
        pass
    try:
        row = orjson.loads(mutate_json(random, _ROW, [_ROW]))
        values = tuple(row)[:10]
        seal = blake3(repr(values).encode()).hexdigest()
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"INSERT INTO layer VALUES ({', '.join('?' * 11)})", (*values, seal))
            database.commit()
    except (ValueError, TypeError, sqlite3.Error, OverflowError):
        pass
    data = path.read_bytes()
    files = {_JOURNAL: mutate_bytes(random, data) if random.random() < 0.4 else data}
    for suffix, log in _JOURNALS.items():
        if random.random() < 0.1:
            files[_JOURNAL + suffix] = mutate_bytes(random, log)
    return files


def _run_journal(files: Files) -> None:
    state = StateDirectory(_laid_out(files))
    assert state.phase
    with Journal(state.journal) as journal:
        for v1_id, layer in journal.layers().items():
            assert is_sha256(layer.digest.diff_id) and v1_id == layer.v1_id
            numbers = (layer.digest.size, layer.digest.tar_bytes, layer.digest.files)
            assert all(type(number) is int and number >= 0 for number in numbers)
            assert layer.fault is None or layer.fault.isprintable()


_LEFT_OUT = b'[{"about":"tag","name":"a:b","reason":"it exists","hint":"","fatal":true}]'


def _make_left_out(random: Random) -> Files:
    phase = mutate_bytes(random, b"published") if random.random() < 0.3 else b"published"
    return {
        ".migrator/phase": phase,
        ".migrator/left_out.json": mutate_json(random, _LEFT_OUT, [_LEFT_OUT]),
    }


def _run_left_out(files: Files) -> None:
    state = StateDirectory(_laid_out(files))
    assert state.phase
    for problem in left_out.read(state.left_out):
        assert isinstance(problem.name + problem.reason, str)


def _run_stored(files: Files) -> None:
    """What Docker >= 1.10 left is read, to be converted."""
    root = _laid_out(files)
    (root / "overlay").mkdir(exist_ok=True)
    with RootFiles(root) as opened:
        store = read_transferable(opened, drivers.get("overlay", root))
    for chain, layer in store.layers.items():
        assert layer.parent is None or layer.parent in store.layers, chain
    _check_printable(store.problems)


def _check_printable(problems: object) -> None:
    for problem in problems:  # type: ignore[attr-defined]
        assert str(problem).isprintable()
        assert len(str(problem)) < 5000


PARSERS: dict[str, Parser] = {
    "gojson": Parser(_json_of("json", "config", "repositories"), _run_gojson, 8),
    "image": Parser(_json_of("json"), _run_image, 15),
    "config": Parser(_json_of("config"), _run_config, 12),
    "hostconfig": Parser(_json_of("hostconfig"), _run_hostconfig, 12),
    "repositories": Parser(_make_repositories, _run_repositories, 12),
    "record": Parser(_make_record, _run_record, 12),
    "graph": Parser(_make_graph, _run_graph, 5),
    "containers": Parser(_make_containers, _run_containers, 5),
    "linkgraph": Parser(_make_linkgraph, _run_linkgraph, 6),
    "sql": Parser(_make_sql, _run_linkgraph, 3),
    "marker": Parser(_make_marker, _run_marker, 4),
    "store": Parser(_make_store, _run_store, 3),
    "stored": Parser(_make_store, _run_stored, 3),
    "manifest": Parser(_make_manifest, _run_manifest, 3),
    "built": Parser(_make_built, _run_built, 2),
    "journal": Parser(_make_journal, _run_journal, 2),
    "left out": Parser(_make_left_out, _run_left_out, 2),
}
