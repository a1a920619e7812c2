"""One reader per storage format, with prefetching, and the cache for remote sets."""
