"""Killing and failing migrator at every point, and looking at what is left.

    python -m tests.crash [--all] [--seed N] [--only TEXT]
    python -m tests.crash --soak N [--seed N]

A point is what lies before or after any change to the disk (`migrator.system.disk`).
At each the process tree is killed, or the disk begins to be full, or fails
once. Whatever is left then must still be the old store, untouched, or be the
new one, complete, or lead to either: `rollback` gives back the original tree,
`migrate` the reference result.
"""
