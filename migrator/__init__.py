"""Carries a Docker <= 1.9 data root over to the content-addressed store of Docker >= 1.10.

`plan` looks, `migrate` does it, `verify` checks a migrated data root; see the README.
"""

from migrator.errors import MigratorError, Problem
from migrator.migration import migrate
from migrator.planning import Plan, plan
from migrator.report.summary import Summary
from migrator.verification import VerificationReport, verify
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
