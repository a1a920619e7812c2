"""Checkpoints: saving and resuming runs, reading those of other projects."""
