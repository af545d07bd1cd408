"""Random changes to a small tree, as a script for busybox's shell and as a tar."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

# A few names, so that they meet again and again; changes stay out of /bin, the shell's.
_TOP = ("w", "x", "y dir")
_NAMES = ("a", "b", "c", "ä", "a.b", "d d")

# A file capability (linux/capability.h): version 2, effective, CAP_NET_RAW.
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

APPLETS = (
    *("sh", "cat", "chmod", "chown", "cp", "echo", "ln", "mkdir", "mkfifo", "mknod", "mv", "rm"),
    *("rmdir", "sleep", "touch", "truncate"),
)


def path(chance: random.Random) -> str:
    """A path of one to three names, without a slash at its beginning."""
    return "/".join(
        [chance.choice(_TOP), *(chance.choice(_NAMES) for _ in range(chance.randrange(3)))]
    )


def script(chance: random.Random, changes: int) -> str:
    """Shell commands, of which those fail that the tree does not allow."""
    return "; ".join(f"{{ {_change(chance)}; }} 2>/dev/null" for _ in range(changes)) + "; true"


def _change(chance: random.Random) -> str:
    one, two = f"'/{path(chance)}'", f"'/{path(chance)}'"
    above = f"'/{path(chance)}'"
    word = chance.randrange(1000)
    return chance.choice(
        (
            f"mkdir -p {above}; echo {word} >{one}",
            f"mkdir -p {above}; echo {word} >{one}",
            f"mkdir -p {one}; echo {word} >{one}/{word % 7}",
            f"echo {word} >>{one}",
            f"rm -rf {one}",
            f"rm -rf {one}",
            # The directory becomes an opaque one.
            f"rm -rf {one}; mkdir -p {one}; echo {word} >{one}/new",
            f"rm -rf {one}; mkdir -p {one}",
            f"rm -rf {one}; echo {word} >{one}",
            f"ln {one} {two}",
            f"ln -s {two} {one}",
            f"mv {one} {two}",
            f"cp -a {one} {two}",
            f"chmod {chance.choice(('600', '755', '4711', '1777'))} {one}",
            f"chown {word}:{word + 1} {one}",
            f"touch {one}",
            f"touch -d @{1_000_000_000 + word} {one}",
            f"truncate -s {word * 100} {one}",
            f"mkfifo {one}",
            f"mknod {one} c 1 3",
            # Opened for writing, and left as it is.
            f"true >>{one}",
        )
    )


def fill(chance: random.Random, directory: Path, files: int) -> None:
    """Files below a directory that is empty, or not there."""
    directory.mkdir(exist_ok=True)
    for _ in range(files):
        file = directory / path(chance)
        if any(each.is_file() for each in (file, *file.parents)) or file.is_dir():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{chance.randrange(1000)}\n")
        file.chmod(chance.choice((0o644, 0o600, 0o755)))


def archive(chance: random.Random, target: Path, files: int) -> None:
    """A tar with files, links between them, and a capability, for `docker import`."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in {path(chance): None for _ in range(files)}:
            content = f"{chance.randrange(1000)}\n".encode()
            # Of a name that others are below, Docker makes a directory then.
            entry = tarfile.TarInfo(f"i/{name.replace('/', '-')}")
            entry.size, entry.mtime = len(content), 1_200_000_000 + chance.randrange(1000)
            entry.uid = chance.choice((0, 1000))
            if chance.random() < 0.3:
                value = _CAPABILITY.decode("utf-8", "surrogateescape")
                entry.pax_headers = {"SCHILY.xattr.security.capability": value}
            tar.addfile(entry, io.BytesIO(content))
            if chance.random() < 0.3:
                link = tarfile.TarInfo(f"{entry.name}-link")
                link.type, link.linkname = tarfile.LNKTYPE, entry.name
                tar.addfile(link)
