"""Programs for sets that exist: verify, repair, index, describe."""
