"""Programs a person runs; nothing imports them."""
