"""The content-addressed store of Docker >= 1.10: its layout, reader and writer of each part."""
