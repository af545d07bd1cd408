"""What is checked in a content-addressed store: its metadata, its layers, what was published."""
