"""Readers of what others write: count tables, trees, sequences, metadata, distances."""
