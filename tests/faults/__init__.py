"""Single faults in migrated data roots, and what `verify` finds of them.

    python -m tests.faults [--count N] [--seed N] [--only STORE]

Each of N faults a store is applied to the same copy of it, looked for by `verify`
with --quick, without options and with --deep, and undone exactly. Prints how many
of each kind were found by what, as Markdown; docs/verify.md has such tables, and
says of all that is not found why. Takes root and, for 400 faults a store, some
ten minutes.
"""
