"""Readers of one sample's bytes per storage format, with prefetching, and the cache of remote sets."""
