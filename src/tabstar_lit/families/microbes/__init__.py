"""Microbial communities: sequences and their counts in samples, encoders of them, and predictors."""
