"""Loaders and steps on a GPU, for gpu.py."""
