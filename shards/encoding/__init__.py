"""One image's bytes to the JPEG that is stored."""
