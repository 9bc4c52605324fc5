"""Scores that more than one family reports."""
