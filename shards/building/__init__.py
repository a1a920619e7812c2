"""From a source to a finished set: layout, encoding of blocks, writing, records for resuming."""
