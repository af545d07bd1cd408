"""`python -m migrator`."""

from migrator.entry import main

main()
