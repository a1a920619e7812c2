"""Static augmented sets: the views of one epoch as JPEG files, written and read."""
