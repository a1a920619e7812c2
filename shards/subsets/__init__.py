"""Which part of a source: published lists, drawn sets, class sets, lists of the user's own."""
