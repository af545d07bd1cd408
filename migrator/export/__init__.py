"""The parts of an export: what a store has, its layers' blobs, and what is written around them."""
