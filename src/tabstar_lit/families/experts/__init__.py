"""Experts that read text, and a mixture that routes between them."""
