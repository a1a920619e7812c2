"""The loaders of this project as cases, and what loader.py says about them."""
