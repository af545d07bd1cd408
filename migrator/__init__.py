"""Carries a Docker <= 1.9 data root over to the content-addressed store of Docker >= 1.10.

from migrator import plan, migrate, verify

plan("/var/lib/docker").tasks       # what there is to hash
migrate("/var/lib/docker").images   # how many images it migrated
verify("/var/lib/docker").findings  # what is wrong with a migrated root
"""

from migrator.errors import MigratorError, Problem
from migrator.migration import migrate
from migrator.planning import Plan, plan
from migrator.report.summary import Summary
from migrator.version import __version__

__all__ = [
    "MigratorError",
    "Plan",
    "Problem",
    "Summary",
    "__version__",
    "migrate",
    "plan",
]
