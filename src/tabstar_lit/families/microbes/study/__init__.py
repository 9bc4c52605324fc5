"""The study file, and the samples of it as batches."""
