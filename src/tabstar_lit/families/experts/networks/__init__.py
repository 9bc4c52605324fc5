"""Experts on text, and what joins them."""
