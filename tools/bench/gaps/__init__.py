"""Differences between renderers, for parity.py."""
