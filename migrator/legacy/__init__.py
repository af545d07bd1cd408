"""The store of Docker <= 1.9 (`graph/`, `repositories-*`, `containers/`, `linkgraph.db`), read only."""
