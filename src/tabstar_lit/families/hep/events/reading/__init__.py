"""Readers of events, one file for each format, and what they have in common."""
