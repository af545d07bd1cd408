"""The parts of a migration: a legacy store's layers hashed, its metadata rewritten."""
