"""Docker 20.10 builds, changes and removes things at random, and migrator has to agree with it.

    python -m tests.walk [--driver NAME] [--steps N] [--seed N] [--every N] [--directory PATH]

The daemon builds (its own builder and BuildKit), runs, commits, tags, imports,
saves and loads, removes and prunes. Every so often it is stopped: `verify`
must find no fault, every image must be exported, and a copy of the data root
that was migrated to overlay2 must show the same images and containers to a
daemon there. The choices are the seed's; a walk that failed leaves its data
root in the directory that is named.
"""
