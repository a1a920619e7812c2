"""From a manifest to batches of views: order, loaders, the executor they share."""
