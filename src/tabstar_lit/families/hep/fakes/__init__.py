"""Fake factors by density ratios: numerator, denominator and ratio."""
