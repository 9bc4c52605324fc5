"""TabSTAR: a tabular foundation model that reads tables as text and numbers (arXiv 2505.18125)."""
