"""Antibody sequences for an antigen at a wanted affinity."""
