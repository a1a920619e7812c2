"""Evaluations as pure functions on (features, labels); each yields (name, value)."""
