"""Our views inside torch's `DataLoader` and ffcv's `Loader`."""
