"""Static augmented sets: writing and reading the views of one epoch as JPEG files."""
