"""Benchmarks and comparisons with other programs."""
