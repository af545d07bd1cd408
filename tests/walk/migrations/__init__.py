"""Migrations, rollbacks and Docker 20.10 take turns at random, on top of one another.

    python -m tests.walk.migrations [--driver NAME] [--steps N] [--seed N]

A small legacy store is migrated in place and to overlay2, rolled back, hashed;
between that Docker runs on one of the drivers, and the old daemon goes on (its
store grows and shrinks by hand). After every step `verify` must find no fault
in any store, but for layers that the old daemon really took away; a rollback
must be exact, or refused and change nothing. The choices are the seed's.
"""
