"""Checkpoint files, and weights out of them."""
