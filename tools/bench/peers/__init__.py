"""Loaders of other projects, and the quickest that one can write by hand."""
