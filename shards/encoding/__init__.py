"""Turns one image's bytes into the JPEG that is stored."""
