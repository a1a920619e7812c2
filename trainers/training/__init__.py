"""A training run: optimizer, loop, logging, validation."""
