"""The resized crop of a decoded image on the host, in numba."""

VERSION = 2  # of the pixels that it makes; 1 blended in floats
