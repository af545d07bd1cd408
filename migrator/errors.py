"""The one family of errors, the problems that do not stop a run, and the exit codes.

An error is raised where it is found, in the words of the thing that is wrong,
and turned into a message in one place (`migrator.cli`). A *problem* is what
becomes of an error that concerns one layer, image, tag or container: it is
collected, the rest goes on, and the run ends with `ExitCode.PARTIAL`.

A hint that recommends another command has it in backquotes, without the options
that say where: `migrator verify`. The command line adds them when it shows it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

AS_ROOT = "run it as root, e.g. with sudo"
"""The hint for what the kernel refuses to others."""

_MOST_DETAILS = 20


class ExitCode(enum.IntEnum):
    """What the process ends with; the numbers are part of the interface."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    INTERRUPTED = 4


class MigratorError(Exception):
    """Anything that migrator reports instead of a traceback.

    `subject` names the layer, image, container or file concerned; `hint` says
    what the user can do; `details` are things that the message is about, if
    there are several. All may be empty.
    """

    exit_code = ExitCode.FAILED

    def __init__(
        self, message: str, *, subject: str = "", hint: str = "", details: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self.hint = hint
        self.details = tuple(details)

    def __str__(self) -> str:
        what, *details = self.lines()
        return f"{what}: {'; '.join(details)}" if details else what

    def lines(self) -> list[str]:
        """What happened, then the first details, one each, and how many more there are."""
        what = f"{self.subject}: {self.message}" if self.subject else self.message
        more = len(self.details) - _MOST_DETAILS
        rest = [f"and {more} more"] if more > 0 else []
        return [what, *self.details[:_MOST_DETAILS], *rest]


class UsageError(MigratorError):
    """An option or argument that makes no sense."""

    exit_code = ExitCode.USAGE


class DataRootError(MigratorError):
    """The data root is missing, unreadable, or holds no Docker store."""


class PermissionDenied(DataRootError):
    """The process may not read or write what it has to."""


class MissingCapability(PermissionDenied):
    """The process lacks a capability of the kernel's that the command needs."""


class DriverError(DataRootError):
    """No storage driver found, several found, or one that cannot be read."""


class DaemonRunning(DataRootError):
    """A Docker daemon uses this data root."""


class FormatError(MigratorError):
    """A metadata file (old or new) that does not say what it should."""


class LayerError(MigratorError):
    """A layer whose digest could not be computed."""


class WorkerError(LayerError):
    """A layer could not be worked on here: its worker died, or there was not enough memory."""


class RecordError(LayerError):
    """A tar-split record that does not rebuild its layer; another way may exist."""


class StoreError(MigratorError):
    """The new store could not be written, or what is there contradicts it."""


class ReportError(StoreError):
    """The report cannot be written."""


class Interrupted(MigratorError):
    """Stopped by a signal; what was done so far is kept."""

    exit_code = ExitCode.INTERRUPTED


class Subject(enum.StrEnum):
    """What a problem is about."""

    ROOT = "data root"
    LAYER = "layer"
    IMAGE = "image"
    TAG = "tag"
    CONTAINER = "container"
    LINK = "link"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was not migrated, or not as recorded, and why.

    `fatal` problems leave something out (exit code 3); the others are news
    that the owner of the store wants, and change no exit code.
    """

    about: Subject
    name: str
    reason: str
    hint: str = ""
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.about} {self.name}: {self.reason}"
