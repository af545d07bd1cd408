"""The store of Docker <= 1.9, read only: `graph/`, names, containers and their links."""
