"""A layer's bytes: tar-split record, tar headers, digest, IDs; and the loop that reads layers."""
