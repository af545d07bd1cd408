"""Carries a Docker <= 1.9 data root over to the content-addressed store of Docker >= 1.10.

`plan` looks, `migrate` does it, `verify` checks a migrated data root; see the README.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrator.commands.migrate import migrate
    from migrator.commands.plan import plan
    from migrator.commands.verify import verify
    from migrator.errors import MigratorError, Problem
    from migrator.migration.plan import Plan
    from migrator.report.summary import Summary
    from migrator.report.verification import VerificationReport
    from migrator.version import __version__

__all__ = [
    "MigratorError",
    "Plan",
    "Problem",
    "Summary",
    "VerificationReport",
    "__version__",
    "migrate",
    "plan",
    "verify",
]

# Imported when asked for: the program's entry has to look after signals before that.
_HOMES = {
    "MigratorError": "errors",
    "Plan": "migration.plan",
    "Problem": "errors",
    "Summary": "report.summary",
    "VerificationReport": "report.verification",
    "__version__": "version",
    "migrate": "commands.migrate",
    "plan": "commands.plan",
    "verify": "commands.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
