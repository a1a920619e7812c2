"""Builds a set from a source: layout, encoding of blocks, writing, records for resuming."""
