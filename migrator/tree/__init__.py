"""Directory trees: walking, comparing and building them, whatever they are layers of."""
