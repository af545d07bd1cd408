"""How the source is built: its size, its floors, and the ways that things take through it.

    python -m tests.house [CHECKOUT ...]

prints a column for each checkout (default: this one), so that two can be compared.
"""
