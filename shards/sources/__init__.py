"""Sources of images: one file for each kind, and what the kinds share."""
