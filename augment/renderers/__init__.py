"""The programs that execute draws: PIL as the reference, torch on a device, numba on the host, DALI."""
