"""Losses that more than one family uses: per event, weighted, and safe where a batch carries no information."""
