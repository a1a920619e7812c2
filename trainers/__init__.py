"""Methods, the training loop and evaluations."""
