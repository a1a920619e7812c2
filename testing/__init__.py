"""Checkers for parts that a user brings: each runs the laws of its kind and names the one that is broken.

They raise `BrokenLaw`, an AssertionError, and need no test framework.
"""

from .laws import BrokenLaw
from .loaders import check_loader
from .methods import check_method
from .ops import check_op
from .readers import check_reader
from .sources import check_source

__all__ = ["BrokenLaw", "check_loader", "check_method", "check_op", "check_reader", "check_source"]
