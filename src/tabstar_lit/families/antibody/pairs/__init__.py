"""Pairs of antigen and antibody: from tables of sequences to batches."""
