"""The resized crop of a decoded image on the host, in numba."""
