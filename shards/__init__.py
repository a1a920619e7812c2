"""Bytes on disk: sources, subsets, writers and the manifest that describes them. Knows numpy and pyarrow, never torch."""
