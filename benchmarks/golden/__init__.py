"""Outputs of other programs, stored to compare with, and the scripts that made them."""
