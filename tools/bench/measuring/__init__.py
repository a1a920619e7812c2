"""Rounds whose cases alternate, cases in processes of their own, and what a machine adds to figures."""
