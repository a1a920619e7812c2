"""The resized crop of a decoded image on the host, in numba."""

VERSION = 2  # of its pixels, kept in runs; those of 1 were sums of floats
