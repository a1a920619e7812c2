"""What is done with a set that exists: verify, repair, index, describe."""
