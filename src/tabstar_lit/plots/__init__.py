"""Figures that more than one family draws."""
