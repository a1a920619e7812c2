"""The stream of views inside other people's loaders: torch's DataLoader and ffcv's Loader."""
