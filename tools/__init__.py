"""Command-line programs; only other programs import them."""
