"""The programs that make pixels from draws: PIL as the reference, torch on a device, numba on the host, DALI."""
