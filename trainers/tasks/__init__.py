"""Evaluations from command-line options to results."""
