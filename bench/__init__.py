"""Measuring migrator: synthetic legacy stores, this host's limits, peers, and a timing model."""
