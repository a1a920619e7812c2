"""What is decided before a byte is read: sample order, and the parameters of each batch."""
