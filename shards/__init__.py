"""Bytes on disk: sources, subsets, writers and their manifest. Knows numpy and pyarrow, never torch."""
