"""The loader of a set that is decoded once and then held in memory."""
