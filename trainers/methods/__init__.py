"""One file per training method, and the parts that methods share."""
