"""What suite.py measures, a file for each part, and the images that they share."""
