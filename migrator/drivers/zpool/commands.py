"""Running `zfs` and `mount`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection

from migrator.errors import DriverError
from migrator.text import shown

TIMEOUT = 120
"""Seconds that a command may take; a busy pool answers slowly."""

_HINTS = (
    ("zfs-fuse daemon is running", "start the daemon zfs-fuse, then import the pool: zpool import"),
    ("ZFS modules", "load the kernel's module (modprobe zfs), then import the pool: zpool import"),
    ("/dev/zfs", "run it as root; a container needs --privileged, or --device /dev/zfs"),
    ("ermission denied", "run it as root"),
    ("must be superuser", "run it as root"),
    (
        "does not exist",
        "import its pool (zpool import POOL), or name the dataset that has the layers"
        " with --storage-opt zfs.fsname=POOL/DATASET; `zfs list` shows all",
    ),
    ("busy", "end what uses it: stop the Docker daemon, leave its directory"),
)


def run(*command: str, keep: Collection[int] = ()) -> str:
    """Run a command, which inherits the descriptors `keep`; returns its standard output.

    Raises DriverError with what the command says, and what helps.
    """
    path = os.environ.get("PATH", os.defpath)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, "LC_ALL": "C", "PATH": f"{path}:/usr/sbin:/sbin"},
            pass_fds=keep,
            # An interrupt from the terminal is for us; what it breaks off we would not know.
            start_new_session=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise DriverError(
            f"there is no command {command[0]!r} on this machine",
            hint="install the package that brings it: zfsutils-linux, or zfs-fuse for its pools",
        ) from None
    except subprocess.TimeoutExpired:
        raise DriverError(f"`{command[0]} {command[1]}` did not end in {TIMEOUT} s") from None
    except OSError as error:
        raise DriverError(f"{command[0]!r} cannot be run ({error.strerror})") from None
    if done.returncode:
        said = "; ".join(done.stderr.split("\n")).strip("; ") or f"status {done.returncode}"
        hint = next((hint for fragment, hint in _HINTS if fragment in said), "")
        raise DriverError(shown(f"{command[0]}: {said}"), hint=hint)
    return done.stdout


def zfs(*arguments: str, keep: Collection[int] = ()) -> str:
    """Run `zfs`, likewise."""
    return run("zfs", *arguments, keep=keep)
