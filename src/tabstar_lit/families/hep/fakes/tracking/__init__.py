"""Scores and figures of a stage of fakes."""
