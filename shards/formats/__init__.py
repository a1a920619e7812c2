"""Storage formats: tar, .beton and folder, their writers, readers and digests."""
