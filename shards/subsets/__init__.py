"""Subsets of a source: published lists, drawn sets, class sets, the user's own lists, and shares of each class."""
